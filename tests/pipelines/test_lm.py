"""From a text to a language model, and on: lm, generate, surprise."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from tests.pipelines.runs import check_run
from titans_seq.cli import execute
from titans_seq.domains.language import TitansLM, language_model
from titans_seq.domains.language.text import sha256

FAST = ["--dim", "16", "--layers", "1", "--window", "16", "--epoch-steps", "3", "--max-epochs", "1", "--sample", "20"]


@pytest.fixture
def place(tmp_path, migrated_store, monkeypatch):
    """A working directory with a ready tracking database."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def book(place, english):
    """A text file."""
    (place / "book.txt").write_text(english[:20_000], encoding="utf-8")
    return "book.txt"


@pytest.fixture
def folder(place, small_lm):
    """A saved model."""
    return str(small_lm.save(place / "model"))


def test_all_results_are_there(place, book, english, capsys):
    assert execute(["lm", "--data", book, *FAST, "--output", "out", "--seed", "3"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("titans", "5-gram", "lzma", "bits_per_byte"))
    out = place / "out"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["data_sha256"] == sha256(english[:20_000])
    assert metrics["characters"] == {"train": 18_000, "test": 2_000}
    models = metrics["models"]
    model = TitansLM.load(out / "model")
    assert models["titans"]["bits_per_byte"] == pytest.approx(model.bits_per_byte(english[18_000:20_000]))
    assert models["windows"]["bits_per_byte"] > 0
    assert models["5-gram"]["bits_per_byte"] < models["unigram"]["bits_per_byte"]
    assert (out / "loss.png").read_bytes()[:4] == b"\x89PNG"
    sample = (out / "sample.txt").read_text()
    assert sample.startswith(english[:18_000][-64:])
    assert len(sample) > 64 + 5
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("lm").experiment_id])
    check_run(client, run, {"loss.png", "sample.txt", "metrics.json"})
    assert run.data.params["data_digest"] == metrics["data_sha256"]
    assert run.data.metrics["test_bits_per_byte"] == pytest.approx(models["titans"]["bits_per_byte"])


def test_the_embedded_text_json_and_force(place, english, capsys):
    command = ["lm", *FAST, "--variant", "lmm", "--carry", "--output", "out", "--tracking-uri", "off", "--json"]
    assert execute(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["data"] == "pydoc_data.topics"
    assert printed["data_sha256"] == sha256(english)
    assert execute(command) == 2
    assert "already holds loss.png, sample.txt, metrics.json, model" in capsys.readouterr().err
    assert execute([*command, "--force"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == {
        name: of | {"seconds": pytest.approx(of["seconds"], abs=60)} for name, of in printed["models"].items()
    }, "the same seed, the same numbers"


def test_generate(folder, small_lm, place, capsys):
    assert (
        execute(["generate", "--model", folder, "--prompt", "The value", "--max-new-tokens", "30", "--seed", "2"]) == 0
    )
    expected = small_lm.generate("The value", 30, seed=2)
    assert capsys.readouterr().out == "The value" + expected + "\n"
    options = ["--prompt", "The", "--temperature", "0", "--max-new-tokens", "9", "--json"]
    assert execute(["generate", "--model", folder, *options]) == 0
    coldest = small_lm.generate("The", 9, temperature=0)
    assert json.loads(capsys.readouterr().out) == {"prompt": "The", "text": coldest, "seed": 0}
    assert execute(["generate", "--model", folder, "--top-k", "5", "--top-p", "0.9", "--output", "said.txt"]) == 0
    assert capsys.readouterr().out == ""
    assert (place / "said.txt").read_text() == small_lm.generate("", top_k=5, top_p=0.9) + "\n"
    one_line(place, ["generate", "--model", folder, "--output", "said.txt"], "said.txt exists", capsys)


def test_generate_until(folder, small_lm, capsys):
    whole = small_lm.generate("The value", 30, seed=2)
    options = ["--prompt", "The value", "--seed", "2", "--max-new-tokens", "30", "--stop", whole[8:11], "xyz", "--json"]
    assert execute(["generate", "--model", folder, *options]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == whole[: whole.find(whole[8:11])]


def test_training_goes_on_from_a_folder(folder, place, book, capsys):
    command = ["lm", "--data", book, "--epoch-steps", "3", "--max-epochs", "1", "--output", "out", "--json"]
    assert execute([*command, "--start", folder, "--learning-rate", "1e-9", "--tracking-uri", "off"]) == 0
    printed = json.loads(capsys.readouterr().out)["models"]["titans"]
    text = (place / "book.txt").read_text()
    assert printed["bits_per_byte"] == pytest.approx(TitansLM.load(folder).bits_per_byte(text[18_000:]), rel=1e-4)
    one_line(place, [*command, "--start", folder, "--dim", "16", "--force"], "warm_start: the earlier network", capsys)
    one_line(place, [*command, "--start", "nowhere", "--force"], "no saved model", capsys)


def test_byte_pairs(place, book, capsys):
    options = ["--vocabulary", "bpe", "--vocabulary-size", "300", "--output", "out", "--tracking-uri", "off", "--json"]
    assert execute(["lm", "--data", book, *FAST, *options]) == 0
    assert json.loads(capsys.readouterr().out)["vocabulary"] == 300
    assert TitansLM.load(place / "out" / "model").vocabulary_.size == 300
    wrong = ["lm", "--data", book, *FAST, "--vocabulary", "bpe", "--vocabulary-size", "99999", "--output", "other"]
    one_line(place, wrong, "vocabulary_size must be at most 32768", capsys)


def test_surprise(folder, place, book, capsys):
    (place / "foreign.txt").write_text("Zażółć gęślą jaźń! " * 10, encoding="utf-8")
    options = ["--data", book, "--start", "100", "--characters", "2000", "--plant", "foreign.txt", "--output", "out"]
    assert execute(["surprise", "--model", folder, *options]) == 0
    assert "auc" in capsys.readouterr().out
    metrics = json.loads((place / "out" / "metrics.json").read_text())
    begin, end = metrics["planted"]
    assert (begin, end - begin) == (1000, len(("Zażółć gęślą jaźń! " * 10).encode()))
    assert metrics["contrast"]["bits"]["inside"] > 1.5 * metrics["contrast"]["bits"]["outside"]
    assert len((place / "out" / "surprise.csv").read_text().splitlines()) == 1 + metrics["tokens"]
    assert (place / "out" / "surprise.png").read_bytes()[:4] == b"\x89PNG"
    assert execute(["surprise", "--model", folder, "--data", book, "--output", "out", "--force", "--json"]) == 0
    assert "contrast" not in json.loads(capsys.readouterr().out)


def test_predict_scores_lines(folder, small_lm, place, capsys):
    (place / "lines.txt").write_text("The value of x.\nŻółć!\n", encoding="utf-8")
    assert execute(["predict", "--model", folder, "--data", "lines.txt", "--out", "lines.csv"]) == 0
    assert "lines.csv: 2 rows" in capsys.readouterr().out
    frame = pd.read_csv(place / "lines.csv")
    assert frame["text"].tolist() == ["The value of x.", "Żółć!"]
    assert frame["bytes"].tolist() == [16, 10]
    assert frame["bits_per_byte"][1] > frame["bits_per_byte"][0]
    (place / "lines.txt").write_bytes(b"\xff")
    one_line(place, ["predict", "--model", folder, "--data", "lines.txt", "--out", "x.csv"], "not UTF-8", capsys)


def one_line(place, arguments, message, capsys):
    before = {p for p in place.rglob("*") if p.is_file()}
    assert execute(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert {p for p in place.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", [], "book.txt is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", [], "is binary, not text: a zero byte at 8"),
        ("café ".encode("latin-1") * 200, [], "is not UTF-8: byte 0xe9 at 3"),
        (b"too short", [], "has 9 bytes, to train and validate at least 33 are needed"),
        (None, [], "no such file"),
        (b"a" * 900 + b"z" * 100, ["--vocabulary", "symbols"], "'z' at position 1 is not in the model's vocabulary"),
        (b"abc" * 300, ["--vocabulary", "symbols", "--prompt", "x"], "'x' at position 1"),
        (b"abc" * 300, ["--vocabulary", "words"], "--vocabulary"),
        (b"abc" * 300, ["--variant", "mamba"], "variant must be"),
        (b"abc" * 300, ["--test-fraction", "1"], "test-fraction must lie above 0"),
        (b"abc" * 300, ["--sample", "0"], "sample must be at least 1"),
        (b"abc" * 300, ["--temperature", "-1"], "temperature must be"),
        (b"abc" * 300, ["--max-epochs", "0"], "max_epochs must be"),
        (b"abc" * 300, ["--learning-rate", "nan"], "learning_rate must be"),
        (b"abc" * 300, ["--tracking-uri", "http://127.0.0.1:9"], "cannot track at"),
        (b"abc" * 300, ["--output", "book.txt"], "is a file"),
    ],
)
def test_wrong_input_to_lm(place, capsys, content, options, message):
    if content is not None:
        (place / "book.txt").write_bytes(content)
    one_line(place, ["lm", "--data", "book.txt", *FAST, "--output", "out", *options], message, capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-new-tokens", "0"], "max_new_tokens must be a whole number of at least 1, not 0"),
        (["--top-p", "1.5"], "top_p must be above 0 and at most 1, not 1.5"),
        (["--top-p", "nan"], "top_p must be"),
        (["--top-k", "0"], "top_k must be"),
        (["--temperature", "inf"], "temperature must be"),
        (["--seed", "-1"], "seed must be"),
        (["--prompt", "\udcff"], "is no character of UTF-8"),
        (["--output", "nowhere/said.txt"], "there is no folder nowhere"),
        (["--model", "missing"], "holds no saved model"),
    ],
)
def test_wrong_input_to_generate(place, folder, capsys, options, message):
    one_line(place, ["generate", "--model", folder, *options], message, capsys)


def test_a_prompt_with_symbols_that_the_vocabulary_lacks(place, capsys):
    size = {"dim": 16, "layers": 1, "heads": 2, "context": 16, "epoch_steps": 1, "max_epochs": 1}
    folder = TitansLM(vocabulary="symbols", **size).fit("abc" * 100).save(place / "symbols")
    one_line(place, ["generate", "--model", str(folder), "--prompt", "abX"], "'X' at position 3", capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--characters", "0"], "characters must be at least 1"),
        (["--start", "-1"], "start must be at least 0"),
        (["--start", "20000"], "has 20000 characters: nothing begins at 20000"),
        (["--plant", "missing.txt"], "no such file"),
        (["--data", "missing.txt"], "no such file"),
    ],
)
def test_wrong_input_to_surprise(place, folder, book, capsys, options, message):
    one_line(place, ["surprise", "--model", folder, "--data", book, *options], message, capsys)


def test_a_loss_that_is_no_number_keeps_the_last_good_model(place, book, monkeypatch, capsys):
    seen = []

    class Spoiled(language_model.NextTokenLoss):
        def __call__(self, network, batch):
            seen.append(network.training)
            return super().__call__(network, batch) * (torch.nan if network.training and sum(seen) > 4 else 1)

    monkeypatch.setattr(language_model, "NextTokenLoss", Spoiled)
    command = ["lm", "--data", book, *FAST, "--max-epochs", "5", "--tracking-uri", "off"]
    assert execute([*command, "--output", "out"]) == 0
    assert "warning: the loss was not finite in epoch 2, step 5" in capsys.readouterr().err
    assert math.isfinite(TitansLM.load(place / "out" / "model").bits_per_byte("to be"))
    seen.extend([True] * 10)
    assert execute([*command, "--output", "other"]) == 2
    assert "error: the loss was not finite in epoch 1, step 1" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_model_and_ends_the_run_as_killed(place, book):
    code = "import sys; from titans_seq.cli import main; main(sys.argv[1:])"
    options = [*FAST, "--max-epochs", "100000", "--output", "out"]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "lm", "--data", book, *options],
            stdout=log, stderr=log, cwd=place, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        for _ in range(1800):
            if (place / "out" / "model" / "config.json").exists():
                break
            assert process.poll() is None, (place / "log").read_text()
            time.sleep(0.1)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
    log = (place / "log").read_text()
    assert "Traceback" not in log
    assert "interrupted" in log
    assert TitansLM.load(place / "out" / "model").bits_per_byte("to be") > 0
    assert not (place / "out" / "metrics.json").exists()
