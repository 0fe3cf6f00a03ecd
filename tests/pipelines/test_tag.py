"""From the command line: tag, predict with its model, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from titans_seq.cli import execute
from titans_seq.domains.genomics.alphabet import decode
from titans_seq.domains.genomics.orfs import open_lengths
from titans_seq.domains.genomics.tagger import TitansDNATagger

FAST = ["--max-epochs", "1", "--tracking-uri", "off", "--set", "segment=384", "flank=96", "dim=8", "heads=1",
        "layers=1"]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two contigs with genes on either strand, as FASTA and GFF3."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    fasta, gff = "", "##gff-version 3\n"
    for name in ("one", "two"):
        codes = rng.integers(0, 4, 3000).astype(np.uint8)
        for start in range(90, 2700, 700):
            codes[start : start + 300] = np.tile([1, 2, 3], 100)
            strand = "+-"[start // 700 % 2]
            gff += f"{name}\tx\tCDS\t{start + 1}\t{start + 300}\t.\t{strand}\t0\tID={name}{start}\n"
        fasta += f">{name}\n{decode(codes)}\n"
    (tmp_path / "g.fa").write_text(fasta)
    (tmp_path / "g.gff3").write_text(gff)
    return tmp_path


def command(*options):
    return ["tag", "--data", "g.gff3", "--genome", "g.fa", "--output", "out", *FAST, *options]


def test_tag_and_predict(place, capsys):
    assert execute(command("--json")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["classes"] == ["CDS", "no CDS"]
    names = list(result["models"])
    assert names[0] == "titans"
    assert names[1].startswith("open reading frames of ")
    assert names[2] == "most frequent class"
    assert (place / "out" / "track.png").read_bytes()[:4] == b"\x89PNG"
    assert execute(["predict", "--model", "out/model", "--data", "g.fa", "--out", "p.csv"]) == 0
    rows = pd.read_csv("p.csv")
    assert list(rows.columns) == ["name", "start", "end", "predicted", "probability"]
    for name in ("one", "two"):
        own = rows[rows["name"] == name]
        assert own["start"].iloc[0] == 1
        assert own["end"].iloc[-1] == 3000
        assert (own["start"].to_numpy()[1:] == own["end"].to_numpy()[:-1] + 1).all()
        assert (own["predicted"].to_numpy()[1:] != own["predicted"].to_numpy()[:-1]).all()
    model = TitansDNATagger.load(place / "out" / "model")
    assert model.segment == 384


def test_frames_and_contigs(place, capsys):
    assert execute(command("--frames", "--strand", "given", "--test-contigs", "two", "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["classes"] == [-3, -2, -1, 0, 1, 2, 3]
    assert list(result["models"]) == ["titans"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--feature", "exon"], "has no feature 'exon'; it has CDS"),
        (["--test-contigs", "three"], "has no contigs three"),
        (["--test-contigs", "one", "two"], "contigs are needed both to train and to test"),
        (["--frames"], "they need strand given"),
        (["--data", "g.fa"], "is no kind of sequence file"),
        (["--variant", "x"], "variant must be"),
    ],
)
def test_tag_refuses(place, capsys, options, message):
    assert execute(command(*options)) == 2
    assert message in capsys.readouterr().err
    assert not (place / "out").exists()


def test_a_genome_is_needed(place, capsys):
    assert execute([word for word in command() if word not in ("--genome", "g.fa")]) == 2
    assert "needs the genome" in capsys.readouterr().err


def test_open_reading_frames():
    """A frame without stops is found on either strand; by hand where stops are."""
    text = "TAA" + "GCC" * 20 + "TAG" + "C"
    codes = np.array(["ACGT".index(letter) for letter in text], dtype=np.uint8)
    lengths = open_lengths(codes)
    assert lengths.max() >= 60
    assert (lengths[3:63] >= 60).all()
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, 500).astype(np.uint8)
    for frame in range(3):
        words = ["".join("ACGT"[k] for k in codes[i : i + 3]) for i in range(frame, 498, 3)]
        size = best = 0
        for word in words:
            size = 0 if word in ("TAA", "TAG", "TGA") else size + 3
            best = max(best, size)
        assert open_lengths(codes).max() >= best
    assert open_lengths(codes[:1]).tolist() == [0]
