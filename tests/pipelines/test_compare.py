"""Runs of a real store side by side."""

import json
import math
import shutil
import statistics

import pandas as pd
import pytest

from titans_seq.cli import execute
from titans_seq.errors import DataError
from titans_seq.pipelines.compare import compare_runs
from titans_seq.pipelines.compare_table import setting_names
from titans_seq.tracking import track

LOSSES = {(16, 0): 0.5, (16, 1): 0.7, (16, 2): 0.6, (32, 0): 0.4, (32, 1): 0.45}
"""(dim, seed) -> validation loss."""


@pytest.fixture(scope="module")
def store(tmp_path_factory, migrated_store):
    """An experiment of five runs, two settings with seeds, and a study of a parent and its two children."""
    place = tmp_path_factory.mktemp("compare")
    shutil.copy(migrated_store, place / "mlflow.db")
    uri = f"sqlite:///{place / 'mlflow.db'}"
    log(uri, 16, 0, 9.0)  # the same seed is run again below, which counts
    for (dim, seed), loss in LOSSES.items():
        log(uri, dim, seed, loss)
    with track(uri, "study", "whole", {"trials": 2}) as parent:
        parent.metrics({"best_val_loss": 1.0})
        for trial, rate in enumerate((0.1, 0.01)):
            with track(
                uri, "study", f"trial {trial}", {"learning_rate": rate, "random_state": 0}, parent.run_id
            ) as run:
                run.metrics({"best_val_loss": 1.0 + rate})
                run.tag("pruned", str(trial == 1).lower())
    with track(uri, "silent", "nothing", {}):
        pass
    return uri, parent.run_id


def log(uri, dim, seed, loss):
    parameters = {"dim": dim, "random_state": seed, "data": "a.csv", **({"window": 8} if dim == 32 else {})}
    with track(uri, "lm", "text", parameters) as run:
        scores = {"test_accuracy": 1 - loss, "test_5_gram_accuracy": 0.1, "fit_seconds": 1.0}
        run.metrics({"best_val_loss": loss} | scores)


def test_seeds_are_one_row_and_only_what_differs_is_shown(store):
    frame = compare_runs("lm", tracking_uri=store[0])
    assert setting_names(frame) == ["dim", "window"]
    assert frame["dim"].tolist() == [32, 16]
    assert frame["window"].tolist() == ["8", ""]
    assert frame["runs"].tolist() == [2, 3]
    for row, dim in enumerate((32, 16)):
        losses = [loss for (d, _), loss in LOSSES.items() if d == dim]
        assert frame["best_val_loss"][row] == pytest.approx(statistics.mean(losses))
        assert frame["best_val_loss std"][row] == pytest.approx(statistics.stdev(losses))
    assert compare_runs("lm", tracking_uri=store[0], metric="test_accuracy")["dim"].tolist() == [32, 16]
    newest = compare_runs("lm", tracking_uri=store[0], last=1)
    assert newest["runs"].tolist() == [1]
    assert setting_names(newest) == []
    assert math.isnan(newest["best_val_loss std"][0])


def test_children_of_a_run(store):
    uri, parent = store
    for frame in (compare_runs(parent=parent, tracking_uri=uri), compare_runs("study", tracking_uri=uri)):
        assert frame["learning_rate"].tolist() == [0.01, 0.1]
        assert frame["status"].tolist() == ["PRUNED", "FINISHED"]
        assert frame["run"].tolist() == ["trial 1", "trial 0"]
        assert frame["run_id"].str.len().tolist() == [32, 32]


def test_table_files_and_json(store, tmp_path, capsys):
    command = ["runs", "compare", "--experiment", "lm", "--tracking-uri", store[0], "--output", str(tmp_path / "out")]
    assert execute(command) == 0
    shown = capsys.readouterr().out
    assert "lm: 5 runs" in shown
    assert "0.6 ± 0.1" in shown
    assert "test_accuracy" in shown
    assert "5_gram" not in shown
    assert "data" not in shown
    written = pd.read_csv(tmp_path / "out" / "compare.csv")
    assert written["test_5_gram_accuracy"].tolist() == [0.1, 0.1]
    assert (tmp_path / "out" / "compare.png").read_bytes()[:4] == b"\x89PNG"
    assert execute(command) == 2
    assert "already holds compare.csv, compare.png" in capsys.readouterr().err
    assert execute([*command, "--force", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["runs"] for row in rows] == [2, 3]
    assert execute(["runs", "list", "--tracking-uri", store[0], "--json"]) == 0
    counts = {row["experiment"]: row["runs"] for row in json.loads(capsys.readouterr().out)}
    assert counts == {"Default": 0, "lm": 6, "study": 3, "silent": 1}
    assert execute(["runs", "list", "--tracking-uri", store[0]]) == 0
    assert "study" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name an experiment, or the parent of the runs; there are Default, lm, silent, study"),
        (["--experiment", "x"], "no experiment 'x'; there are Default, lm, silent, study"),
        (["--experiment", "Default"], "experiment 'Default' has no runs"),
        (["--experiment", "silent"], "the runs have no metrics"),
        (["--parent", "x"], "no run 'x'"),
        (["--parent", "a' or 'a' = 'a"], "no run"),
        (["--experiment", "lm", "--metric", "x"], "no run has a metric 'x'; there are best_val_loss"),
        (["--experiment", "lm", "--last", "0"], "last must be at least 1"),
        (["--experiment", "lm", "--tracking-uri", "http://127.0.0.1:9"], "cannot read runs at http://127.0.0.1:9"),
        (["--experiment", "lm", "--tracking-uri", "sqlite:///none.db"], "there is no such file"),
    ],
)
def test_wrong_input(store, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store[0])
    assert execute(["runs", "compare", *options, "--output", "out"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


def test_a_run_of_another_experiment(store):
    uri, parent = store
    with pytest.raises(DataError, match="is not of experiment 'lm'"):
        compare_runs("lm", parent=parent, tracking_uri=uri)


def test_a_comparison_is_readable_at_80_columns(tmp_path, monkeypatch, capsys):
    """Six settings that differ in names as long as they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for number in range(4):
        parameters = {
            "learning_rate": 10.0**-number, "memory_depth": number, "validation_fraction": number / 10,
            "longest_half_life": 100 * number, "persistent_tokens": number, "memory_expansion": number,
        }  # fmt: skip
        for seed in range(3):
            with track("sqlite:///m.db", "wide", "run", parameters | {"random_state": seed}) as run:
                run.metrics({"best_val_loss": number + seed / 10, "test_accuracy": 0.5, "test_loss": 2 + seed})
    assert execute(["runs", "compare", "--experiment", "wide", "--tracking-uri", "sqlite:///m.db"]) == 0
    shown = capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "0.1 ± 0.1" in shown
    assert "1: learning_rate=1, memory_depth=0, " in shown
    assert "longest_half_life=300" in shown.replace("\n", "")
