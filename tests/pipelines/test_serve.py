"""Logged models behind `mlflow models serve`, a real process, beside what `titans-seq predict` writes."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest

from tests import servers
from tests.domains.genomics.conftest import SMALL, planted
from titans_seq.cli import execute
from titans_seq.domains.genomics import TitansDNAClassifier
from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.pipelines.log import log_model
from titans_seq.tracking import track

pytestmark = pytest.mark.slow

SIZE = {"horizon": 6, "context": 24, "dim": 16, "layers": 1, "patch": 6, "max_epochs": 1}


@pytest.fixture
def store(tmp_path, migrated_store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def forecaster(waves):
    return TitansForecaster(**SIZE).fit(waves.iloc[:400]), waves.iloc[380:440].reset_index().astype({"when": str})


@pytest.fixture
def classifier():
    model = TitansDNAClassifier(**SMALL | {"strand": "given", "max_epochs": 1}).fit(*planted(60))
    return model, pd.DataFrame({"sequence": planted(5, seed=1)[0]})


@pytest.fixture
def language_model(small_lm):
    return small_lm, pd.DataFrame({"text": ["The value of x, which is", "zażółć gęślą jaźń"]})


@pytest.mark.parametrize("domain", ["forecaster", "classifier", "language_model"])
def test_a_served_model_answers_as_predict_does(store, tmp_path, domain, request):
    model, table = request.getfixturevalue(domain)
    with track(store, "things", domain, {}) as run:
        uri = log_model(run, model.save(tmp_path / "model"))
    assert not list(tmp_path.rglob("*.pkl"))
    if domain == "language_model":
        (tmp_path / "asked.txt").write_text("".join(f"{line}\n" for line in table["text"]), encoding="utf-8")
    else:
        table.to_csv("asked.csv", index=False)
    (asked,) = tmp_path.glob("asked.*")
    assert execute(["predict", "--model", "model", "--data", asked.name, "--out", "answers.csv"]) == 0
    expected = pd.read_csv("answers.csv")
    with servers.mlflow("models", "serve", "-m", uri, "--env-manager", "local", folder=tmp_path,
                        MLFLOW_TRACKING_URI=store) as server:  # fmt: skip
        status, answer = server.post("/invocations", json.dumps({"dataframe_split": table.to_dict("split")}))
        assert status == 200
        found = pd.DataFrame(answer["predictions"])
        same(found, expected.drop(columns="name", errors="ignore"))
        if domain == "forecaster":
            status, answer = server.post("/invocations", asked.read_text(), "text/csv")
            same(pd.DataFrame(answer["predictions"]), expected)
            table.loc[3, "when"] = "never"
            status, answer = server.post("/invocations", json.dumps({"dataframe_split": table.to_dict("split")}))
            assert status == 400
            assert answer["message"].startswith("column 'when' does not hold times")


def test_what_is_logged_runs_where_nothing_is_installed(store, tmp_path, small_lm):
    """The package comes along as a wheel, with the versions that it ran with."""
    with track(store, "things", "language", {}) as run:
        log_model(run, small_lm.save(tmp_path / "model"))
    (wheel,) = tmp_path.rglob("*.whl")
    first, *others = (wheel.parents[1] / "requirements.txt").read_text().split()
    assert wheel.parents[1] / first == wheel
    assert wheel.stat().st_size < 1.5e6
    assert f"mlflow=={version('mlflow')}" in others
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", "elsewhere", str(wheel)]
    subprocess.run(pip, check=True, cwd=tmp_path)
    code = (
        "import sys, pandas, titans_seq, mlflow.pyfunc; model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(titans_seq.__file__, len(model.predict(pandas.DataFrame({'text': ['to be']}))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(wheel.parents[1])], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "elsewhere")},
    )  # fmt: skip
    assert done.stdout.split() == [str(tmp_path / "elsewhere" / "titans_seq" / "__init__.py"), "1"], done.stderr


def same(found, expected):
    assert found.columns.tolist() == expected.columns.tolist()
    for name in found:
        if pd.api.types.is_numeric_dtype(expected[name]):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
        elif name == "when":
            assert pd.to_datetime(found[name]).tolist() == pd.to_datetime(expected[name]).tolist()
        else:
            assert found[name].tolist() == expected[name].tolist()
