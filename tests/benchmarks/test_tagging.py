"""The tagging benchmark on a small genome: genes of a kind that pyrodigal finds, on either strand."""

import gzip
import json

import numpy as np
import pytest

from benchmarks.__main__ import execute
from benchmarks.tagging import TEST, TRAIN, read_genome

CODONS = ["GCT", "GAA", "CTG", "AAA", "GGT", "GTT", "ACC", "GAT", "CGT", "AAC"]


def genome(seed, genes=40):
    """Random letters, and between them genes with a start, frequent codons and a stop."""
    rng = np.random.default_rng(seed)
    text = ""
    for number in range(genes):
        text += "".join(rng.choice(list("ACGT"), rng.integers(60, 200)))
        gene = "AGGAGGTAATAAATG" + "".join(rng.choice(CODONS, rng.integers(150, 300))) + "TAA"
        text += gene if number % 2 else gene[::-1].translate(str.maketrans("ACGT", "TGCA"))
    return text


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate((TRAIN, TEST)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(gzip.compress(f">a\n{genome(seed)}\n".encode()))
    return tmp_path


@pytest.mark.filterwarnings("ignore:sequence should be")
def test_genes_are_found(folder):
    text, labels = read_genome(folder / TRAIN)
    assert len(text) == len(labels)
    assert 0.5 < labels.mean() < 0.99


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:sequence should be")
def test_bench_tagging(folder, capsys, monkeypatch):
    monkeypatch.setattr("titans_seq.domains.genomics.tag_batches.LEAST_BATCHES", 5)
    options = ["--letters", "12000", "--test-letters", "6000", "--max-epochs", "1", "--seeds", "1"]
    assert execute(["tagging", "--folder", str(folder), "--output", str(folder / "out"), "--json", *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["summary"]) == {"titans (lmm)", "attention, 64 tokens", "convolution", "no mixer"}
    assert list(result["summary"]["titans (lmm)"]["curve"]) == ["96", "384", "1536", "6144"]
    assert -1 <= result["open_reading_frames"]["mcc"] <= 1
    assert [p.name.startswith("tagging-2") for p in (folder / "out").iterdir()] == [True]


def test_a_genome_that_is_missing(tmp_path, capsys):
    assert execute(["tagging", "--folder", str(tmp_path)]) == 2
    assert "Debian's package ragout-examples has it" in capsys.readouterr().err
