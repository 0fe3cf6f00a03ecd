"""A domain of another package, that of docs/add-a-domain.md: known to sweeps, predict and serving by its row alone."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests import servers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the other package, installed as packages are, and a file of sequences that count up or down."""
    folder = tmp_path_factory.mktemp("counting")
    site = folder / "site"
    site.mkdir()
    shutil.copy(ROOT / "docs" / "counting.py", site)
    info = site / "counting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[titans_seq.domains]\ncounting = counting:DOMAIN\n")
    rng = random.Random(0)
    rows = [(rng.randrange(10), rng.choice((1, 2, 3))) for _ in range(200)]
    (folder / "numbers.txt").write_text("\n".join("".join(str((a + s * i) % 10) for i in range(8)) for a, s in rows))
    return folder


def program(place, *arguments):
    """The program in a process that finds the other package."""
    path = os.pathsep.join([str(place / "site"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "titans_seq.cli", *arguments], cwd=place, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_is_swept_predicted_and_served(place, migrated_store):
    shutil.copy(migrated_store, place / "mlflow.db")
    out = program(
        place, "sweep", "run", "--domain", "counting", "--data", "numbers.txt", "--trials", "2", "--workers", "1",
        "--set", "max_epochs=12", "batch_size=16", "max_step=0.5", "--study", "counting", "--json",
    )  # fmt: skip
    result = json.loads(out)
    assert result["complete"] == 2
    assert set(result["best"]["varied"]) == {"memory_depth", "learning_rate"}
    assert result["test"]["accuracy"] > 0.9

    (place / "asked.txt").write_text("1234567\n2468024\n")
    program(place, "predict", "--model", "runs/sweep/model", "--data", "asked.txt", "--out", "next.csv")
    assert pd.read_csv(place / "next.csv")["next"].tolist() == [8, 6]

    from mlflow import MlflowClient

    store = f"sqlite:///{place / 'mlflow.db'}"
    client = MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name("counting").experiment_id])
    (model,) = (output.model_id for run in runs for output in run.outputs.model_outputs)
    path = os.pathsep.join([str(place / "site"), str(ROOT)])
    with servers.mlflow("models", "serve", "-m", f"models:/{model}", "--env-manager", "local", folder=place,
                        MLFLOW_TRACKING_URI=store, PYTHONPATH=path) as server:  # fmt: skip
        status, answer = server.post("/invocations", json.dumps({"dataframe_records": [{"sequence": "1234567"}]}))
    assert status == 200
    assert answer["predictions"] == [{"next": 8}]


def test_wrong_use_of_it_is_one_line(place, monkeypatch, capsys):
    from titans_seq.cli import execute

    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place / "site"))
    sweep = ["sweep", "run", "--domain", "counting", "--output", "none", "--tracking-uri", "off"]
    for options, message in (
        ([], "a file is needed: --data"),
        (["--data", "missing.txt"], "must hold lines of equally many digits"),
        (["--data", "numbers.txt", "--horizon", "3"], "the domain counting has no option horizon"),
        (["--data", "numbers.txt", "--set", "colour=1"], "Counter has no parameter 'colour'"),
    ):
        assert execute([*sweep, *options]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert len(err.splitlines()) == 1
