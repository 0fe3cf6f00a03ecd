"""From the command line: classify, scan, predict and explain, and what they refuse."""

import gzip
import json
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from tests.domains.genomics.conftest import planted
from tests.pipelines.runs import check_run
from titans_seq.cli import execute
from titans_seq.domains.genomics import TitansDNAClassifier

FAST = ["--max-epochs", "1", "--tracking-uri", "off"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(path, count=120, seed=0, order=None):
    sequences, labels = planted(count, seed)
    rows = [f"{s},{y}" for s, y in zip(sequences, labels, strict=True)]
    path.write_text("\n".join(["sequence,label", *(sorted(rows, key=order) if order else rows)]) + "\n")
    return path


def refused(capsys, arguments, message):
    assert execute(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    *warnings, line = shown.err.strip().splitlines()
    assert all(w.startswith("warning: ") for w in warnings if w)
    assert line.startswith("error: ")
    assert message in line
    assert "Traceback" not in shown.err


def test_classify_a_file(place, migrated_store, capsys):
    shutil.copy(migrated_store, place / "mlflow.db")
    table(place / "a.csv", order=lambda row: row.split(",")[1])
    assert execute(["classify", "--data", "a.csv", "--output", "out", "--max-epochs", "1", "--seed", "3"]) == 0
    shown = capsys.readouterr()
    assert "stand sorted by class: they are shuffled" in shown.err
    assert all(w in shown.out for w in ("titans", "k-mer regression", "composition", "mcc", "auprc", "exact"))
    metrics = json.loads((place / "out" / "metrics.json").read_text())
    assert set(metrics["models"]) == {"titans", "k-mer regression", "composition"}
    assert metrics["leaks"]["exact"] == {"dev in train": 0, "test in train": 0, "test in dev": 0}
    assert (place / "out" / "curves.png").read_bytes()[:4] == b"\x89PNG"
    predictions = pd.read_csv(place / "out" / "predictions.csv")
    assert len(predictions) == metrics["sequences"]["test"] == 24
    accuracy = (predictions["label"] == predictions["predicted"]).mean()
    assert accuracy == pytest.approx(metrics["models"]["titans"]["accuracy"])
    model = TitansDNAClassifier.load(place / "out" / "model")
    assert model.random_state == 3
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("classify").experiment_id])
    check_run(client, run, {"curves.png", "metrics.json", "predictions.csv"})
    assert run.data.metrics["test_mcc"] == pytest.approx(metrics["models"]["titans"]["mcc"])
    assert run.data.metrics["test_k_mer_regression_mcc"] == pytest.approx(metrics["models"]["k-mer regression"]["mcc"])


def test_classify_a_folder_says_what_leaks(place, capsys):
    (place / "data").mkdir()
    for seed, name in enumerate(("train", "dev", "test")):
        table(place / "data" / f"{name}.csv", 60, seed)
    copied = (place / "data" / "test.csv").read_text().splitlines()[1:4]
    with (place / "data" / "train.csv").open("a") as file:
        file.write("\n".join(copied) + "\n")
    command = ["classify", "--data", "data", "--output", "out", *FAST, "--json"]
    assert execute(command) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert "warning: 3 of 63 training sequences stand in dev or test: they are left out" in shown.err
    assert result["leaks"]["exact"]["test in train"] == 3
    assert result["leaks"]["removed_from_train"] == 3
    assert result["sequences"] == {"train": 60, "dev": 60, "test": 60}
    refused(capsys, command, "already holds curves.png, predictions.csv, metrics.json, model")
    assert execute([*command, "--force"]) == 0
    assert json.loads(capsys.readouterr().out)["models"]["titans"]["mcc"] == result["models"]["titans"]["mcc"]


def test_classify_goes_on_from_a_saved_model(place, saved, capsys):
    table(place / "a.csv")
    command = ["classify", "--data", "a.csv", "--output", "out", "--start", str(saved), *FAST, "--json"]
    assert execute([*command, "--set", "learning_rate=1e-9", "average=None"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["strand"], result["pool"]) == ("given", 4)
    model, before = (TitansDNAClassifier.load(folder) for folder in (place / "out" / "model", saved))
    for name, tensor in before.network_.mixer.state_dict().items():
        np.testing.assert_allclose(model.network_.mixer.state_dict()[name], tensor, atol=1e-5)
    refused(capsys, [*command, "--force", "--set", "dim=32"], "the earlier network has other sizes")
    refused(capsys, [*command[: -len(FAST) - 2], "nowhere", *FAST, "--force"], "holds no saved model")


def test_classify_regions_of_a_genome(place, capsys):
    rng = np.random.default_rng(0)
    letters = rng.choice(list("ACGT"), 12_000)
    for start in range(100, 11_900, 200):
        letters[start : start + 10] = list("TGACTCAGCA")
    (place / "g.fa").write_text(">one\n" + "".join(letters) + "\n")
    (place / "peaks.bed").write_text("".join(f"one\t{s - 20}\t{s + 30}\n" for s in range(100, 11_900, 200)))
    command = ["classify", "--data", "peaks.bed", "--genome", "g.fa", "--output", "out", *FAST, "--json"]
    assert execute(command) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == ["no peaks", "peaks"]
    refused(capsys, [*command, "--force", "--test-contigs", "two"], "has nothing on the contigs two")


def test_classify_the_embedded_genome(place, capsys):
    assert execute(["classify", "--output", "out", "--stride", "300", *FAST, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["data"] == "NC_000932.gb.gz"
    assert result["classes"] == ["CDS", "no CDS"]
    assert result["models"]["composition"]["auroc"] > 0.5


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"sequence,label\n", [], "no rows"),
        (b"sequence,label\nMKLVEF,1\nACGT,0\n", [], "looks like a protein"),
        (b"sequence,label\n" + b"ACGTAC,1\n" * 9, [], "one class only"),
        (b"sequence,label\nACGT,1\n,0\n", [], "sequence 2 is empty"),
        (b"id,sequence,label\na,ACGT,1\na,GGGT,0\n", [], "two rows with the id 'a'"),
        (gzip.compress(b"sequence,label\n" + b"ACGTAC,1\nACGGAC,0\n" * 999, mtime=0)[:70], [], "damaged gzip"),
        (b"x,y\n1,2\n", [], "needs columns sequence and label"),
        (b"sequence,label\n" + b"A" * 100_001 + b",1\nACGT,0\n", [], "100,001 letters, more than the 100,000"),
        (None, ["--variant", "mamba"], "variant must be"),
        (None, ["--strand", "left"], "strand must be"),
        (None, ["--test-fraction", "0.9"], "test-fraction must lie"),
        (None, ["--max-epochs", "0"], "max_epochs must be"),
        (None, ["--tracking-uri", "http://127.0.0.1:9"], "cannot track at"),
        (None, ["--output", "a.csv"], "is a file"),
        (None, ["--data", "b.csv"], "no such file"),
    ],
)
def test_classify_refuses(place, capsys, content, options, message):
    if content is None:
        table(place / "a.csv", 60)
    else:
        (place / "a.csv").write_bytes(content)
    refused(capsys, ["classify", "--data", "a.csv", "--output", "out", *FAST, *options], message)
    assert not list(place.glob("out/*"))


@pytest.mark.slow
def test_classify_keeps_the_best_model_after_ctrl_c(place):
    table(place / "a.csv", 200)
    code = "import sys; from titans_seq.cli import main; main(sys.argv[1:])"
    options = ["--max-epochs", "100000", "--output", "out", "--tracking-uri", "off"]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "classify", "--data", "a.csv", *options], stdout=log, stderr=log, cwd=place
        )
    try:
        for _ in range(2400):
            if (place / "out" / "model" / "config.json").exists():
                break
            assert process.poll() is None, (place / "log").read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(240) == 130, (place / "log").read_text()
    finally:
        process.kill()
    assert "Traceback" not in (place / "log").read_text()
    assert TitansDNAClassifier.load(place / "out" / "model").predict(["ACGT" * 20]).shape == (1,)
    assert not (place / "out" / "metrics.json").exists()


@pytest.fixture
def genome(place):
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("ACGT"), 1000))
    (place / "g.fa").write_text(f">one\n{text}\n>two\n{text[:700]}\n")
    (place / "g.fa.gz").write_bytes(gzip.compress((place / "g.fa").read_bytes()))
    return place


def test_scan_writes_every_format(genome, saved, capsys):
    command = ["scan", "--model", str(saved), "--window", "60", "--stride", "20", "--label", "none"]
    for name, source in (("a.bed", "g.fa"), ("a.gff3", "g.fa.gz"), ("a.bedgraph", "g.fa")):
        assert execute([*command, "--genome", source, "--out", name, "--threshold", "0.4", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out.splitlines()[0])
    assert counts["records"] == 2
    assert counts["windows"] == 48 + 33
    assert counts["label"] == "none"
    bed = [row.split("\t") for row in (genome / "a.bed").read_text().splitlines()]
    gff = [row.split("\t") for row in (genome / "a.gff3").read_text().splitlines()[1:]]
    assert {row[5] for row in bed} == {"+", "-"}
    assert [(r[0], int(r[1]) + 1, int(r[2])) for r in bed] == [(r[0], int(r[3]), int(r[4])) for r in gff]
    graph = [row.split("\t") for row in (genome / "a.bedgraph").read_text().splitlines()[1:]]
    for name, size in (("one", 1000), ("two", 700)):
        edges = [(int(start), int(end)) for record, start, end, _ in graph if record == name]
        assert edges[0][0] == 0
        assert edges[-1][1] == size
        assert all(a[1] == b[0] for a, b in pairwise(edges))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", [], "is empty"),
        (b">a\nACGT\n>a\nACGT\n", [], "two records named 'a'"),
        (b">a\nMKLVEFPQIL\n", [], "looks like a protein"),
        (gzip.compress(b">a\n" + b"ACGTTGCA" * 9999, mtime=0)[:60], [], "damaged gzip"),
        (None, ["--out", "a.txt"], "the suffix tells the format"),
        (None, ["--out", "g.fa"], "the suffix tells the format"),
        (None, ["--out", "no/a.bed"], "there is no folder no"),
        (None, ["--stride", "0"], "stride must lie"),
        (None, ["--stride", "999"], "stride must lie"),
        (None, ["--window", "0"], "window must lie"),
        (None, ["--threshold", "2"], "threshold must lie"),
        (None, ["--label", "x"], "no class 'x'"),
        (None, ["--genome", "x.fa"], "no such file"),
        (None, ["--model", "x"], "holds no saved model"),
        (None, ["--model", "g.fa"], "g.fa is a file, not the folder of a saved model"),
        (None, ["--shard", "3/2"], "shard reads K/N"),
        (None, ["--shard", "1/2", "--out", "a.bw"], "cannot be put one behind the other"),
        (None, ["--jobs", "0"], "jobs must be at least 1"),
    ],
)
def test_scan_refuses(genome, saved, capsys, content, options, message):
    if content is not None:
        (genome / "g.fa").write_bytes(content)
    before = {p.name for p in genome.iterdir()}
    given = options if "--label" in options else [*options, "--label", "motif"]
    refused(capsys, ["scan", "--model", str(saved), "--genome", "g.fa", "--out", "a.bed", *given], message)
    assert {p.name for p in genome.iterdir()} == before, "nothing written"


def test_a_track_is_not_overwritten(genome, saved, capsys):
    (genome / "a.bed").write_text("mine")
    command = ["scan", "--model", str(saved), "--genome", "g.fa", "--out", "a.bed"]
    refused(capsys, command, "--label must name the class to look for, one of: motif, none")
    command += ["--label", "motif"]
    refused(capsys, command, "a.bed exists: choose another file, or --force")
    assert (genome / "a.bed").read_text() == "mine"
    assert execute([*command, "--force"]) == 0
    assert "lines" in capsys.readouterr().out


def test_predict_of_every_kind_of_file(genome, saved, capsys):
    table(genome / "t.csv", 10)
    for source, rows in (("g.fa", 2), ("g.fa.gz", 2), ("t.csv", 10)):
        assert execute(["predict", "--model", str(saved), "--data", source, "--out", "p.csv", "--force"]) == 0
        found = pd.read_csv(genome / "p.csv")
        assert list(found.columns) == ["name", "predicted", "p_motif", "p_none"]
        assert len(found) == rows
    model = TitansDNAClassifier.load(saved)
    np.testing.assert_allclose(found[["p_motif", "p_none"]], model.predict_proba(planted(10)[0]), atol=1e-6)
    command = ["predict", "--model", str(saved), "--data", "g.fa", "--out"]
    capsys.readouterr()
    refused(capsys, [*command, "p.csv"], "p.csv exists")
    refused(capsys, [*command, "p.tsv"], "written as .csv")
    (genome / "long.fa").write_text(">a\n" + "ACGTA" * 2_000_000 + "\n")
    refused(capsys, ["predict", "--model", str(saved), "--data", "long.fa", "--out", "q.csv"], "10,000,000 letters")
    (genome / "rna.fa").write_text(">a\n" + "ACGU" * 20 + "\n")
    assert execute(["predict", "--model", str(saved), "--data", "rna.fa", "--out", "r.csv"]) == 0
    assert "holds U, as RNA does: it is read as T" in capsys.readouterr().err
    assert not (genome / "q.csv").exists()
    other = genome / "other"
    shutil.copytree(saved, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"kind": "Odd"}))
    refused(capsys, ["predict", "--model", "other", "--data", "g.fa", "--out", "q.csv"], "holds a Odd; known are")


def test_explain(genome, saved, capsys):
    assert execute(["explain", "--model", str(saved), "--data", "g.fa", "--name", "two", "--output", "out"]) == 0
    assert "two, 700 letters: none with probability" in capsys.readouterr().out
    effects = pd.read_csv(genome / "out" / "mutagenesis.csv")
    assert effects.shape == (700, 6)
    assert pd.read_csv(genome / "out" / "surprise.csv").shape == (175, 4)
    result = json.loads((genome / "out" / "explanation.json").read_text())
    strongest = result["strongest"]
    assert effects[strongest["to"]][strongest["position"] - 1] == pytest.approx(strongest["change"])
    command = ["explain", "--model", str(saved), "--output", "new"]
    refused(capsys, command, "give either --sequence or --data")
    refused(capsys, [*command, "--data", "g.fa", "--name", "x"], "no sequence named 'x'")
    refused(capsys, [*command, "--sequence", "MKLVE"], "protein")
    refused(capsys, [*command, "--sequence", "ACGT" * 20, "--label", "x"], "no class 'x'")
    assert not (genome / "new").exists()
