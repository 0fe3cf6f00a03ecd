"""Benchmarks run end to end on small settings; their figures are not judged here."""

import json

import pytest

from titans_seq.pipelines.cli import execute


def test_long_horizon_protocol(real_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    options = ["--dataset", "ETTh1", "--seeds", "1", "--max-epochs", "1", "--json", "--output", str(tmp_path)]
    small = ["--context", "96", "--horizon", "96"]
    assert execute(["bench", "long-horizon", *options, *small]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["windows"] == {"train": 8449, "validation": 2785, "test": 2785}
    assert printed["season"] == 24
    # no training in it: a fixed number of the protocol (standardised by the train rows, every window)
    assert printed["summary"]["seasonal naive"]["mse"] == pytest.approx(0.5122, abs=2e-4)
    assert printed["summary"]["titans"]["mse"] < 0.5
    (written,) = tmp_path.glob("long-horizon-ETTh1-96-96-*.json")
    assert json.loads(written.read_text())["summary"] == printed["summary"]


def test_windows(tmp_path, capsys):
    options = ["--rows", "1000", "--channels", "2", "--repeats", "1", "--output", str(tmp_path)]
    assert execute(["bench", "windows", *options]) == 0
    assert "TimeSeriesDataSet" in capsys.readouterr().out
    (written,) = tmp_path.glob("windows-*.json")
    assert json.loads(written.read_text())["ratio"] > 1


def test_streaming(tmp_path, capsys):
    assert execute(["bench", "streaming", "--tokens", "4000", "--dim", "8", "--output", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["variants"]) == {"lmm", "mac", "mag", "mal"}
    assert all(r["finite"] and r["state_bytes"] > 0 for r in result["variants"].values())
    assert len(list(tmp_path.glob("streaming-*.json"))) == 1


def test_training_memory(tmp_path, capsys):
    options = ["--tokens", "2048", "--dim", "32", "--repeats", "1", "--output", str(tmp_path)]
    assert execute(["bench", "training-memory", *options]) == 0
    assert "recomputed" in capsys.readouterr().out
    (written,) = tmp_path.glob("training-memory-*.json")
    assert json.loads(written.read_text())["summary"]["plain"]["seconds"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "long-horizon", "--dataset", "nope"], "no data set named 'nope'"),
        (["bench", "long-horizon", "--seeds", "0"], "seeds must be at least 1"),
        (["bench", "long-horizon", "--variant", "foo"], "variant must be"),
        (["bench", "long-horizon", "--max-epochs", "0"], "max_epochs must be"),
        (["bench", "long-horizon", "--output", "/proc/x"], "cannot write"),
        (["bench", "streaming", "--piece", "0"], "piece must be at least 1"),
        (["bench", "windows", "--rows", "200"], "at least 320 are needed"),
        (["bench", "training-memory", "--repeats", "0"], "repeats must be at least 1"),
        (["data", "path", "nope"], "no data set named 'nope'"),
        ([], "Expected one of"),
    ],
)
def test_wrong_input(arguments, message, capsys):
    assert execute(arguments) == 2
    assert message in capsys.readouterr().err


def test_data_list_and_path(real_data, monkeypatch, capsys):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    assert execute(["data", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ETTh1"]["licence"] == "CC BY-ND 4.0"
    assert execute(["data", "path", "ETTh1"]) == 0
    assert capsys.readouterr().out.strip().endswith("ETTh1.csv")
