"""The benchmarks of the language domain, end to end on small settings; their figures are not judged here."""

import json

import pytest
import torch

from benchmarks.__main__ import execute
from benchmarks.ledger import Ledger
from benchmarks.needle import Needle
from benchmarks.read_twice import UNKNOWN, ReadTwice

pytestmark = pytest.mark.slow

TINY = ["--dim", "8", "--layers", "1", "--parameters", "4000", "--epoch-steps", "2", "--epochs", "1", "--seeds", "1"]


def test_tinyshakespeare_goes_on_where_it_was_stopped(real_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    command = ["language", *TINY, "--variants", "attention", "--output", str(tmp_path), "--json"]
    from benchmarks import language

    trained, stop = [], 1
    once = language.Language.once

    def counted(self, variant, carry, *rest):
        if len(trained) == stop:
            raise KeyboardInterrupt
        trained.append((variant, carry))
        return once(self, variant, carry, *rest)

    monkeypatch.setattr(language.Language, "once", counted)
    assert execute([*command, "--carry", "off"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["characters"] == {"train": 1_003_854, "validation": 111_540}
    assert first["summary"]["attention"]["parameters"] == pytest.approx(4000, rel=0.05)
    assert len(list(tmp_path.glob("*.png"))) == 1
    assert not list(tmp_path.glob("*rows*"))

    trained.clear()
    assert execute([*command, "--carry", "both"]) == 130
    rows = json.loads((tmp_path / "language-tinyshakespeare-rows.json").read_text())["rows"]
    assert [row["windows"] for row in rows] == [row["windows"] for row in first["runs"]]
    trained.clear()
    assert execute([*command, "--carry", "both"]) == 0
    assert trained == [("attention", True)], "the first is not run again"
    both = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(both["summary"]) == ["attention", "attention, memory carried"]
    assert both["baselines_bits_per_byte"]["5-gram"] == pytest.approx(2.4076, abs=1e-3)


def test_needles(tmp_path, capsys):
    size = ["--dim", "8", "--layers", "1", "--parameters", "5000", "--window", "16", "--chunk-size", "16"]
    short = ["--steps", "2", "--bytes", "1024", "--tests", "3", "--seeds", "2", "--lengths", "512", "700"]
    command = ["needle", *size, *short, "--models", "mag", "windowed attention", "--output", str(tmp_path)]
    assert execute(command) == 0
    assert "windowed attention" in capsys.readouterr().out
    (written,) = tmp_path.glob("needle-passkey-*.json")
    result = json.loads(written.read_text())
    assert len(result["runs"]) == 4
    assert set(result["summary"]["mag"]) == {"512", "700"}
    assert all(0 <= share <= 1 for row in result["runs"] for share in row["found"].values())
    assert len(list(tmp_path.glob("needle-passkey-*.png"))) == 1


def test_needles_in_natural_text_are_trained_on_too():
    bench = Needle(
        kind="uuid", dim=8, layers=1, parameters=5000, window=16, chunk_size=16, steps=1, bytes=512, tests=1,
        lengths=(700,),
    )  # fmt: skip
    row = bench.once("lmm", 0)
    assert (row["steps"], row["longest_trained"]) == (1, 512)


def test_equal_time(real_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    size = ["--minutes", "0.03", "--characters", "20000", "--test-characters", "2000", "--seeds", "1"]
    models = ["--models", "attention, window 64", "PyTorch's Transformer"]
    assert execute(["equal-time", *size, *models, "--output", str(tmp_path)]) == 0
    assert "5-gram" in capsys.readouterr().out
    (written,) = tmp_path.glob("equal-time-*.json")
    result = json.loads(written.read_text())
    parameters = [of["parameters"]["mean"] for of in result["summary"].values()]
    assert parameters[0] == pytest.approx(parameters[1], rel=0.05)
    assert all(row["seconds"] < 30 and row["steps"] > 0 for row in result["runs"])
    assert execute(["equal-time", "--models", "gru"]) == 2
    assert "models must be some of" in capsys.readouterr().err


def test_a_window_that_slides_counts_every_token_once():
    from benchmarks.equal_time import sliding_bits

    seen = []

    def network(tokens):
        seen.append(tokens[0].tolist())
        return torch.zeros(1, tokens.shape[1], 16)

    for length in (2, 8, 9, 10, 30):
        seen.clear()
        assert sliding_bits(network, torch.arange(length) % 16, 8) == pytest.approx(4.0)
        assert max(map(len, seen)) <= 8


def test_score(tmp_path, capsys):
    command = ["score", "--bytes", "100000", "--dim", "8", "--layers", "1", "--output", str(tmp_path)]
    assert execute(command) == 0
    assert "growth" in capsys.readouterr().out
    (written,) = tmp_path.glob("score-*.json")
    for of in json.loads(written.read_text())["variants"].values():
        assert of["resident_late"] - of["resident_early"] < 10e6
        assert of["bits_per_byte"] > 0


def test_harness(real_data, small_lm, tmp_path, capsys, monkeypatch):
    pytest.importorskip("lm_eval", reason="needs the extra `harness`")
    import warnings

    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    folder = small_lm.save(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = ["--limit", "2", "--window", "64", "--output", str(tmp_path)]
        assert execute(["harness", "--model", str(folder), *options]) == 0
    assert "lambada" in capsys.readouterr().out
    (written,) = tmp_path.glob("harness-*.json")
    results = json.loads(written.read_text())["results"]
    assert set(results["stream"]) == {"wikitext", "lambada", "piqa"}
    assert results["stream"]["wikitext"]["bits_per_byte"] < results["windows of 64"]["wikitext"]["bits_per_byte"]


def test_harness_that_is_not_installed(small_lm, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("titans_seq.domains.language.harness.LM", object)
    assert execute(["harness", "--model", str(small_lm.save(tmp_path / "model"))]) == 2
    assert "pip install 'titans-seq[harness]'" in capsys.readouterr().err


def test_a_ledger_keeps_rows_of_its_own_settings(tmp_path):
    ledger = Ledger(tmp_path, "b", {"dim": 8, "lengths": (1, 2)})
    ledger.add({"variant": "lmm", "seed": 0, "loss": 1.5})
    again = Ledger(tmp_path, "b", {"dim": 8, "lengths": (1, 2)})
    assert again.find(variant="lmm", seed=0)["loss"] == 1.5
    assert again.find(variant="lmm", seed=1) is None
    assert Ledger(tmp_path, "b", {"dim": 9, "lengths": (1, 2)}).rows == []
    assert Ledger(None, "b", {}).find(variant="lmm") is None
    (tmp_path / "b-rows.json").write_text("{damaged")
    assert Ledger(tmp_path, "b", {"dim": 8}).rows == []
    result = ledger.finish(summary={"lmm": 1.5})
    (written,) = tmp_path.iterdir()
    assert written.name == f"b-{result['date']}.json", "the rows stand in the result alone"
    assert json.loads(written.read_text()) == result
    assert result["runs"][0]["loss"] == 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["language", "--parameters", "1000"], "parameters are too few"),
        (["language", "--epochs", "0"], "epochs must be at least 1"),
        (["language", "--dim", "10"], "multiple of heads"),
        (["language", "--learning-rate", "-1"], "learning_rate must be"),
        (["language", "--variants"], "variants"),
        (["needle", "--lengths", "100"], "length must be at least"),
        (["needle", "--parameters", "1000"], "parameters are too few"),
        (["needle", "--tests", "0"], "tests must be at least 1"),
        (["needle", "--dim", "9"], "multiple of heads"),
        (["needle", "--trained", "700"], "trained"),
        (["needle", "--models", "gru"], "models must be some of"),
        (["score", "--bytes", "10"], "bytes must be at least 100000"),
        (["harness", "--model", "nowhere"], "holds no saved model"),
        (["harness", "--model", "nowhere", "--limit", "0"], "limit must be at least 1"),
    ],
)
def test_wrong_input(arguments, message, capsys, real_data, monkeypatch):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    assert execute(arguments) == 2
    assert message in capsys.readouterr().err


def test_rereading(real_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    size = ["--dim", "8", "--layers", "1", "--context", "128", "--tokens", "256", "--minutes", "0.02"]
    tests = ["--gaps", "100", "--passages", "2", "--test-bytes", "2000", "--output", str(tmp_path)]
    rows = ["sparse memory", "wide attention"]
    assert execute(["rereading", *size, *tests, "--models", *rows, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["summary"]) == rows
    assert all(0 < row["again"]["100"] < 2 and row["stream"] > 0 for row in result["runs"])
    assert [len(heads) for heads in result["runs"][0]["half_lives"]] == [1]
    assert execute(["rereading", "--models", "none such"]) == 2
    assert execute(["rereading", "--context", "192"]) == 2
    assert "64 times a power of two" in capsys.readouterr().err
    assert execute(["rereading", "--vocabulary", "256"]) == 2
    assert "vocabulary must lie between 257" in capsys.readouterr().err


def test_a_passage_of_every_row_stands_twice():
    text = torch.arange(5000)
    rows, gaps = ReadTwice(text, 512, 1024, 8, 0), set()
    for known, length in enumerate((64, 128, 256, 512), 1):
        assert rows.growth.length == length
        seen = set()
        for batch in rows:
            count, size = batch.tokens.shape
            assert count == max(1, 1024 // size)
            seen.add(size)
            for row, first, again in zip(*batch, strict=True):
                assert first.sum() == again.sum() >= 16 - UNKNOWN
                assert (row[first] == row[again]).all()
                assert again[-1], "the row ends with the passage"
                start = int(again.nonzero()[0]) - UNKNOWN
                passage = size - start
                assert min(24, size // 4) <= passage <= min(256, size // 2)
                assert (row[start:] == row[start:][0] + torch.arange(passage)).all(), "in one piece"
                gaps.add(start - int(first.nonzero()[-1]) - 1)
        assert max(seen) == length
        assert len(seen) <= known
        (batch,) = ReadTwice(text, length, 1024, 1, 0, fixed=True)
        losses = torch.ones(len(batch.tokens), length - 1)
        for known_well, then in ((0.0, length), (0.9, min(512, 2 * length))):
            for _ in range(30):
                rows.judge(batch, losses - known_well * batch.again[:, 1:].float())
            assert rows.growth.length == then
    assert len(gaps) > 10
    fixed = ReadTwice(text, 256, 1024, 2, 0, fixed=True)
    assert all((a.tokens == b.tokens).all() for a, b in zip([*fixed], [*fixed], strict=True))
    assert all(batch.tokens.shape == (4, 256) for batch in fixed)
