"""Benchmarks run end to end on small settings; their figures are not judged here."""

import json

import pytest

from benchmarks.__main__ import execute

pytestmark = pytest.mark.slow


def test_long_horizon_protocol(real_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    options = ["--dataset", "ETTh1", "--seeds", "1", "--json", "--output", str(tmp_path)]
    small = ["--context", "96", "--horizon", "96", "--max-epochs", "2"]
    assert execute(["long-horizon", *options, *small]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["windows"] == {"train": 8449, "validation": 2785, "test": 2785}
    assert printed["season"] == 24
    # no training in it: a fixed number of the protocol (standardised by the train rows, every window)
    assert printed["summary"]["seasonal naive"]["mse"] == pytest.approx(0.5122, abs=2e-4)
    assert printed["summary"]["titans"]["mse"] < 0.5
    (written,) = tmp_path.glob("long-horizon-ETTh1-96-96-*.json")
    assert json.loads(written.read_text())["summary"] == printed["summary"]


def test_gift_eval(real_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    options = ["--settings", "ett2/W/short", "--seeds", "1", "--json", "--output", str(tmp_path)]
    assert execute(["gift-eval", *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    (row,) = printed["settings"]
    assert row["seasonal_naive"]["mase"] == pytest.approx(0.77852, abs=1e-5), "as on the leaderboard"
    assert 0 < row["runs"][0]["crps"] < 0.5
    assert printed["means"]["jena_weather"] == {}
    lines = (tmp_path / "gift-eval" / "all_results.csv").read_text().splitlines()
    assert lines[1].startswith("ett2/W/short,titans-seq-lmm,")


def test_windows_of_gift_eval():
    from benchmarks.gift_eval import SETTINGS, cut_windows

    assert len(SETTINGS) == 23
    assert [len(cut_windows(length, horizon)) for length, horizon in ((69680, 48), (52704, 720), (103, 8))] == [
        20,
        8,
        2,
    ]


def test_streaming(tmp_path, capsys):
    assert execute(["streaming", "--tokens", "4000", "--dim", "8", "--output", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["variants"]) == {"lmm", "mac", "mag", "mal"}
    assert all(r["finite"] and r["state_bytes"] > 0 for r in result["variants"].values())
    assert len(list(tmp_path.glob("streaming-*.json"))) == 1


def test_training_memory(tmp_path, capsys):
    options = ["--tokens", "2048", "--dim", "32", "--repeats", "1", "--output", str(tmp_path)]
    assert execute(["training-memory", *options]) == 0
    assert "recomputed" in capsys.readouterr().out
    (written,) = tmp_path.glob("training-memory-*.json")
    assert json.loads(written.read_text())["summary"]["plain"]["seconds"] > 0


def test_stability(tmp_path, capsys):
    options = ["--tokens", "300", "--dim", "8", "--output", str(tmp_path), "--json"]
    assert execute(["stability", *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["all_finite"]
    assert len(result["runs"]) == 4 * 2 * 4 * 4
    assert all(r["largest_gradient"] > 0 for r in result["runs"])


def test_speed(tmp_path, capsys):
    options = ["--tokens", "64", "--dim", "16", "--heads", "2", "--repeats", "1", "--output", str(tmp_path)]
    assert execute(["speed", *options, "--only", "depth 2", "mal", "GRU", "attention"]) == 0
    assert "GFLOP/s" in capsys.readouterr().out
    (written,) = tmp_path.glob("speed-*.json")
    rows = json.loads(written.read_text())["lengths"]["64"]
    assert list(rows) == [
        *(f"memory, depth 2, chunk {chunk}" for chunk in (4, 16, 64)), "mal block", "attention", "GRU",
        "matrix products",
    ]  # fmt: skip
    assert all(r["both"]["tokens_per_second"] > 0 for n, r in rows.items() if n != "matrix products")
    assert len(list(tmp_path.glob("speed-*.png"))) == 1


def test_sizes(tmp_path, capsys):
    options = ["--dims", "32", "--batches", "1", "3", "--tokens", "6", "20", "--most", "50", "--seconds", "0.01"]
    assert execute(["sizes", *options, "--turns", "1", "--output", str(tmp_path)]) == 0
    assert "32, 1 x 20" in capsys.readouterr().out
    (written,) = tmp_path.glob("sizes-*.json")
    rows = json.loads(written.read_text())["rows"]
    assert [(row["batch"], row["tokens"]) for row in rows] == [(1, 6), (3, 6), (1, 20)]
    assert all(row["both"][f"memory, depth 2, chunk {chunk}"] > 0 for row in rows for chunk in (4, 16, 64))
    assert execute(["sizes", "--dims", "33"]) == 2


def test_counted_operations():
    from benchmarks.peers import operations

    # dim 4, 2 heads of 2, one layer of 2 x 2, chunk 8: write 4, read 12 + 8 * 4, carry 8 a head; maps 5 * 16 + 3 * 8
    assert operations(4, 2, 1, 8) == 2 * (2 * (4 + 12 + 32 + 8) + 80 + 24)


def test_keeping_trains_on_longer_and_longer_examples():
    from benchmarks.association import Associations
    from titans_seq.domains.language.recall import recall_loader

    loader = recall_loader(Associations(1024, 4096, 50, 6, 0))
    longest = [max(batch.tokens.shape[1] for batch in loader) for _ in range(6)]
    assert longest[0] <= 128
    assert longest[-1] == 1024


def test_keeping(tmp_path, capsys):
    options = ["--dim", "16", "--steps", "4", "--tokens", "256", "--seeds", "1", "--tests", "4", "--trained", "128"]
    models = ["--models", "lmm, half-lives spread", "windowed attention", "--distances", "20", "300"]
    assert execute(["keeping", *options, *models, "--output", str(tmp_path)]) == 0
    assert "% recalled by tokens of noise" in capsys.readouterr().out
    (written,) = tmp_path.glob("keeping-*.json")
    memory, attention = json.loads(written.read_text())["runs"]
    first, last = memory["gates"][0]["half_lives"]
    assert first < 100 < 10_000 < last
    assert attention["gates"] == []
    assert set(memory["recalled"]) == {"20", "300"}
    assert len(list(tmp_path.glob("keeping-*.png"))) == 1


def test_sparse_memories_hold_more(tmp_path, capsys):
    models = ["--models", "linear", "silu, 4 times", "sparse, 8 times"]
    options = ["--width", "64", "--ages", "100", "400", "--seeds", "1", "--output", str(tmp_path)]
    assert execute(["capacity", *options, *models]) == 0
    assert "% recalled by" in capsys.readouterr().out
    (written,) = tmp_path.glob("capacity-*.json")
    found = {row["model"]: row["recalled"] for row in json.loads(written.read_text())["runs"]}
    assert found["sparse, 8 times"]["400"] > 0.4 > 0.2 > max(found["linear"]["400"], found["silu, 4 times"]["400"])
    assert found["sparse, 8 times"]["100"] >= found["sparse, 8 times"]["400"]
    assert execute(["capacity", "--ages", "50"]) == 2
    assert "ages must be at least 100" in capsys.readouterr().err


def test_recall(tmp_path, capsys):
    options = ["--dim", "16", "--steps", "2", "--tokens", "256", "--seeds", "1", "--tests", "20"]
    assert execute(["recall", *options, "--output", str(tmp_path)]) == 0
    assert "answers that are right" in capsys.readouterr().out
    (written,) = tmp_path.glob("recall-models-*.json")
    result = json.loads(written.read_text())
    assert [run["model"] for run in result["runs"]] == ["lmm", "mac", "mag", "mal", "sliding-window attention"]
    assert len({run["parameters"] // 1000 for run in result["runs"]}) == 1
    tasks = {"MQAR (64, 4)", "MQAR (128, 8)", "MQAR (256, 16)", "ForgettingMQAR (64, 4 + 4)"}
    assert set(result["summary"]["lmm"]) == tasks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stability", "--tokens", "0"], "tokens must be at least 1"),
        (["speed", "--tokens", "0"], "tokens must be at least 1"),
        (["speed", "--dim", "10"], "multiple of heads"),
        (["speed", "--only", "nobody"], "no contender's name contains nobody"),
        (["keeping", "--trained", "100"], "a power of two"),
        (["keeping", "--models", "gru"], "models must be some of"),
        (["recall", "--steps", "0"], "steps must be at least 1"),
        (["recall", "--learning-rate", "-1"], "learning-rate must be positive"),
        (["long-horizon", "--dataset", "nope"], "no data set named 'nope'"),
        (["long-horizon", "--seeds", "0"], "seeds must be at least 1"),
        (["long-horizon", "--variant", "foo"], "variant must be"),
        (["long-horizon", "--context", "0"], "context must be at least 1"),
        (["gift-eval", "--settings", "ett9"], "settings must be some of"),
        (["long-horizon", "--output", "/proc/x"], "cannot write"),
        (["streaming", "--piece", "0"], "piece must be at least 1"),
        (["training-memory", "--repeats", "0"], "repeats must be at least 1"),
        ([], "Expected one of"),
    ],
)
def test_wrong_input(arguments, message, capsys):
    assert execute(arguments) == 2
    assert message in capsys.readouterr().err


def test_scaling(tmp_path, capsys):
    options = ["--tokens", "64", "128", "--dim", "16", "--decode", "40", "--repeats", "1", "--output", str(tmp_path)]
    assert execute(["scaling", *options]) == 0
    assert "decoding" in capsys.readouterr().out
    (written,) = tmp_path.glob("scaling-*.json")
    result = json.loads(written.read_text())
    assert set(result["microseconds_per_token"]) == {"64", "128"}
    assert 0 <= result["spread"]["both"] < 1
    assert result["decoding"]["last"] > 0
    assert execute(["scaling", "--dim", "6"]) == 2


def test_training_step(tmp_path, capsys):
    models = ["--models", "forecaster", "classifier", "language model, context 256"]
    assert execute(["training-step", "--steps", "3", *models, "--output", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    for shares in result["models"].values():
        assert shares["step_seconds"] > 0
        assert 0 < shares["products"] < 1
        assert shares["rest"] < 1
    assert result["models"]["language model, context 256"]["peer_seconds"] > 0
    assert execute(["training-step", "--models", "lmm"]) == 2


def test_defaults(waves, tmp_path, capsys):
    waves.to_csv(tmp_path / "waves.csv")
    small = ["layers=1", "heads=1", "patch=8", "steps_per_epoch=5", "context=48", "max_epochs=1"]
    options = ["--domain", "timeseries", "--data", str(tmp_path / "waves.csv"), "--horizon", "8", "--set", *small]
    more = ["--settings", "dim=8,chunk_size=4", "dim=16", "--seeds", "2", "--output", str(tmp_path), "--json"]
    assert execute(["defaults", *options, *more]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["settings"]) == {"defaults", "dim=8,chunk_size=4", "dim=16"}
    means = {name: sum(row["val_loss"]) for name, row in result["settings"].items()}
    assert result["chosen"] == min(means, key=means.get)
    assert set(result["test"]) == {"defaults", result["chosen"]}
    assert result["settings"]["dim=16"]["against_defaults"]["pairs"] == 2
    assert execute(["defaults", *options, "--settings", "width=8"]) == 2
    assert "has no parameter 'width'" in capsys.readouterr().err


def test_serving(tmp_path, capsys):
    options = ["--domains", "language", "--requests", "20", "--clients", "2", "--output", str(tmp_path), "--json"]
    assert execute(["serving", *options]) == 0
    row = json.loads(capsys.readouterr().out)["domains"]["language"]
    assert row["median_ms_without_server"] > 0
    assert 0 < row["median_ms"] <= row["p95_ms"]
    assert row["per_second_of_clients"] > 0
