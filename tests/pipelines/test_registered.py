"""Models by their name in a real registry."""

import json
import shutil

import pandas as pd
import pytest

from tests.sweeps.conftest import SMALL
from titans_seq.cli import execute


@pytest.fixture
def place(tmp_path, monkeypatch, migrated_store, waves):
    monkeypatch.chdir(tmp_path)
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    waves.to_csv("waves.csv")
    return tmp_path


def forecast(*options, context=48):
    settings = [*(s for s in SMALL if not s.startswith("context")), f"context={context}", "max_epochs=1"]
    return execute(["forecast", "--data", "waves.csv", "--horizon", "8", "--set", *settings, *options])


@pytest.mark.slow
def test_from_training_to_the_champions_answers(place, capsys):
    assert forecast("--output", "first", "--register", "waves@champion") == 0
    assert "models:/waves@champion" in " ".join(capsys.readouterr().out.split())
    assert forecast("--output", "second", "--register", "waves@champion", context=24) == 0
    capsys.readouterr()
    answers = {}
    for model in ("models:/waves@champion", "models:/waves/1", "models:/waves/2", "first/model", "second/model"):
        assert execute(["predict", "--model", model, "--data", "waves.csv", "--out", "next.csv", "--force"]) == 0
        answers[model] = (place / "next.csv").read_text()
    assert answers["models:/waves@champion"] == answers["models:/waves/2"] == answers["second/model"]
    assert answers["models:/waves/1"] == answers["first/model"] != answers["second/model"]
    for model, message in (("models:/waves@nobody", "alias nobody"), ("models:/no/1", "no model models:/no/1")):
        capsys.readouterr()
        assert execute(["predict", "--model", model, "--data", "waves.csv", "--out", "x.csv"]) == 2
        assert message in capsys.readouterr().err

    # a sweep's winner can be registered too, and the registry's own server answers as the command does
    vary = ["--vary", "chunk_size=4,8", "--trials", "1", "--register", "waves@tuned", "--json"]
    sweep = ["sweep", "run", "--domain", "timeseries", "--data", "waves.csv", "--horizon", "8"]
    assert execute([*sweep, "--set", *SMALL, "max_epochs=1", *vary]) == 0
    assert json.loads(capsys.readouterr().out)["complete"] == 1
    from tests.servers import mlflow

    uri = f"sqlite:///{place / 'mlflow.db'}"
    serve = ("models", "serve", "-m", "models:/waves@champion", "--env-manager", "local")
    with mlflow(*serve, folder=place, MLFLOW_TRACKING_URI=uri) as server:
        status, answer = server.post("/invocations", (place / "waves.csv").read_text(), "text/csv")
    assert status == 200
    expected = pd.read_csv("second/forecast.csv")
    found = pd.DataFrame(answer["predictions"])
    pd.testing.assert_frame_equal(found.drop(columns="when"), expected.drop(columns="when"), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--register", "a/b"], "reads NAME or NAME@ALIAS"),
        (["--register", "@x"], "reads NAME or NAME@ALIAS"),
        (["--register", "a@"], "reads NAME or NAME@ALIAS"),
        (["--register", "a", "--tracking-uri", "off"], "--tracking-uri is off"),
    ],
)
def test_names_that_cannot_be_are_refused_before_training(options, message, place, capsys):
    assert forecast("--output", "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (place / "out" / "metrics.json").exists()
