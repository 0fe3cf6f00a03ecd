"""The main job, from the command line on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from tests import servers
from tests.pipelines.runs import check_run
from titans_seq.cli import execute
from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.pipelines import log

FAST = ["--horizon", "12", "--context", "24", "--max-epochs", "1"]


@pytest.fixture
def place(tmp_path, migrated_store, monkeypatch):
    """A working directory with a ready tracking database, as a user's second run finds it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def table(place, waves):
    waves.to_csv(place / "waves.csv")
    return str(place / "waves.csv")


def only_run(place):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("forecast").experiment_id])
    return client, run


def test_all_results_are_there(place, table, capsys):
    assert execute(["forecast", "--data", table, *FAST, "--output", "out", "--seed", "3"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("titans", "dlinear", "seasonal naive", "best: ", "mse", "mae", "mase"))
    out = place / "out"
    forecast = pd.read_csv(out / "forecast.csv", index_col=0, parse_dates=True)
    assert forecast.shape == (12, 2)
    assert str(forecast.index[0]) == "2024-01-21 20:00:00"
    for picture in ("forecast.png", "errors.png"):
        assert (out / picture).read_bytes()[:4] == b"\x89PNG"
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics["models"]) == {"titans", "dlinear", "seasonal naive", "last value", "drift"}
    assert all(v > 0 for m in metrics["models"].values() for k, v in m.items() if k != "seconds")
    loaded = TitansForecaster.load(out / "model").predict()
    np.testing.assert_allclose(loaded.to_numpy(), forecast.to_numpy(), rtol=1e-5)
    client, run = only_run(place)
    check_run(client, run, {"forecast.csv", "forecast.png", "errors.png", "metrics.json"})
    assert run.data.params["horizon"] == "12"
    assert run.data.params["random_state"] == "3"
    assert run.data.metrics["test_mae"] == pytest.approx(metrics["models"]["titans"]["mae"])
    assert run.data.metrics["test_dlinear_mse"] == pytest.approx(metrics["models"]["dlinear"]["mse"])


def test_json_and_force(place, table, capsys):
    command = ["forecast", "--data", table, *FAST, "--output", "out", "--tracking-uri", "off", "--json"]
    assert execute(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["horizon"] == 12
    before = (place / "out" / "metrics.json").stat().st_mtime_ns
    assert execute(command) == 2
    error = capsys.readouterr().err
    assert "already holds forecast.csv, forecast.png, errors.png, metrics.json, model" in error
    assert (place / "out" / "metrics.json").stat().st_mtime_ns == before
    assert execute([*command, "--force"]) == 0
    again = json.loads(capsys.readouterr().out)
    for model in ("titans", "dlinear", "seasonal naive"):
        assert again["models"][model]["mse"] == printed["models"][model]["mse"], "the same seed, the same numbers"


def test_long_table_with_targets(place, waves, capsys):
    long = pd.concat([waves.assign(city=c) for c in ("x", "y")]).reset_index()
    long.to_parquet(place / "cities.parquet")
    options = [*FAST, "--target", "a", "--output", "out", "--tracking-uri", "off"]
    assert execute(["forecast", "--data", "cities.parquet", *options]) == 0
    forecast = pd.read_csv(place / "out" / "forecast.csv")
    assert list(forecast.columns) == ["unique_id", "ds", "a"]
    assert forecast["unique_id"].value_counts().to_dict() == {"x": 12, "y": 12}


def test_series_of_very_different_length_blank_ends_and_odd_names(place, waves):
    waves = waves.rename(columns={"a": "Spend ($) % of sales ($)"})
    waves.iloc[-20:] = np.nan
    parts = [waves.assign(city="x"), waves.iloc[:40].assign(city="$y$"), waves.iloc[:1].assign(city="z")]
    pd.concat(parts).reset_index().to_csv(place / "cities.csv", index=False)
    options = [*FAST, "--output", "out", "--tracking-uri", "off"]
    with pytest.MonkeyPatch.context() as patch:
        drawn = []
        patch.setattr("titans_seq.domains.timeseries.plots.plot_forecast", lambda *a: drawn.append(a))
        assert execute(["forecast", "--data", "cities.csv", *options]) == 0
    assert execute(["forecast", "--data", "cities.csv", *options, "--force"]) == 0
    assert (place / "out" / "forecast.png").exists()
    forecast = pd.read_csv(place / "out" / "forecast.csv")
    assert forecast["unique_id"].value_counts().to_dict() == {"x": 12, "$y$": 12, "z": 12}
    checks = drawn[0][3]
    # the last held-back window with an observed target begins before the blank end, and is drawn there
    assert [c is None for c in checks] == [False, True, True]
    assert checks[0][0] == 500 - 20 - 1


def csv(text):
    return lambda frame: text


def changed(column, value, dtype=None):
    def change(frame):
        frame = frame.astype({column: dtype} if dtype else {})
        frame.iloc[7, frame.columns.get_loc(column)] = value
        return frame.to_csv()

    return change


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (csv(""), [], "is empty"),
        (csv("when,a\n"), [], "header but no rows"),
        (csv("a,b\n1,2\n2,3\n"), [], "no time column"),
        (lambda f: f.assign(b=np.nan).to_csv(), [], "'b' holds no value at all"),
        (changed("a", "oops", object), [], "'a' holds text: 'oops'"),
        (changed("a", np.inf), [], "'a' holds an infinite value"),
        (lambda f: pd.concat([f, f.iloc[[3]]]).sort_index().to_csv(), [], "stand twice"),
        (lambda f: f.iloc[:40].to_csv(), [], "the history has 40 steps: context 24 + horizon 12"),
        (lambda f: f.to_csv(), ["--horizon", "0"], "horizon must be a whole number of at least 1, not 0"),
        (lambda f: f.to_csv(), ["--horizon", "-5"], "horizon must be a whole number of at least 1, not -5"),
        (lambda f: f.to_csv(), ["--context", "0"], "context must be a whole number of at least 1"),
        (lambda f: f.to_csv(), ["--horizon", "ten"], "--horizon"),
        (lambda f: f.to_csv(), ["--output", "/proc/nowhere/out"], "cannot write to /proc/nowhere/out"),
        (lambda f: f.to_csv(), ["--output", "data.csv"], "is a file"),
        (lambda f: f.to_csv(), ["--target", "zzz"], "no column 'zzz'"),
        (lambda f: f.to_csv(), ["--variant", "mamba"], "variant must be"),
        (lambda f: f.to_csv(), ["--test-fraction", "1.5"], "test-fraction must lie above 0"),
        (lambda f: f.to_csv(), ["--tracking-uri", "http://127.0.0.1:9"], "cannot track at"),
        (lambda f: f.to_csv(), ["--no-such-option"], "--no-such-option"),
        (lambda f: f.to_csv(), ["--data", "missing.csv"], "no such file"),
        (lambda f: f.to_csv(), ["--target", "when"], "holds the time stamps"),
        (lambda f: f.to_csv(), ["--max-epochs", "0"], "max_epochs must be"),
        (lambda f: f.to_csv(), ["--max-minutes", "nan"], "max_minutes must be"),
        (lambda f: f.to_csv(), ["--seed", str(2**80)], "random_state must be"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_two(place, waves, capsys, content, options, message):
    (place / "data.csv").write_text(content(waves))
    before = {p.name for p in place.iterdir()}
    assert execute(["forecast", "--data", "data.csv", *FAST, "--output", "out", *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    left = {p.name for p in place.iterdir()} - before
    assert left <= {"out"}
    assert not list(place.glob("out/*"))


def test_unsorted_stamps_are_sorted_with_a_warning(place, waves, capsys):
    waves.sample(frac=1, random_state=0).to_csv(place / "data.csv")
    options = [*FAST, "--output", "out", "--tracking-uri", "off"]
    assert execute(["forecast", "--data", "data.csv", *options]) == 0
    assert "warning: the time stamps are not in order; they were sorted" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_best_model_and_ends_the_run_as_killed(place, waves, sent):
    waves.to_csv(place / "data.csv")
    code = "import sys; from titans_seq.cli import main; main(sys.argv[1:])"
    options = ["--horizon", "12", "--context", "24", "--max-epochs", "100000", "--output", "out"]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "forecast", "--data", "data.csv", *options],
            stdout=log, stderr=log, cwd=place, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        for _ in range(600):
            if (place / "out" / "model" / "config.json").exists():
                break
            assert process.poll() is None, (place / "log").read_text()
            time.sleep(0.1)
        time.sleep(0.3)
        process.send_signal(sent)
        assert process.wait(60) == 130
    finally:
        process.kill()
    log = (place / "log").read_text()
    assert "Traceback" not in log
    assert "interrupted" in log
    assert TitansForecaster.load(place / "out" / "model").predict().shape == (12, 2)
    _, run = only_run(place)
    assert run.info.status == "KILLED"
    assert "val_loss" in run.data.metrics
    assert not (place / "out" / "metrics.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["log_epoch", "log_model"])
def test_a_tracking_server_that_is_killed_costs_one_warning(place, table, monkeypatch, capsys, moment):
    goes_on = getattr(log, moment)
    with servers.tracking(f"sqlite:///{place / 'mlflow.db'}", place) as server:

        def killed(run, what):
            server.kill()
            return goes_on(run, what)

        monkeypatch.setattr(log, moment, killed)
        assert execute(["forecast", "--data", table, *FAST, "--output", "out", "--tracking-uri", server.uri]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 1
    assert "tracking stopped, the work goes on" in warned[0]
    assert json.loads((place / "out" / "metrics.json").read_text())["models"]["titans"]["mse"] > 0
    TitansForecaster.load(place / "out" / "model")
    _, run = only_run(place)
    assert ("best_val_loss" in run.data.metrics) == (moment == "log_model")
