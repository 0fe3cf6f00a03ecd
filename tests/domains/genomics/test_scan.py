"""Genomes in stretches and windows; the formats that come out."""

import gzip
import re

import numpy as np
import pytest

from titans_seq.domains.genomics import stream
from titans_seq.domains.genomics.encoder import encode_sequences
from titans_seq.domains.genomics.scan import WindowScores, find_hits, scan, tile_records
from titans_seq.domains.genomics.stream import cut_windows, read_stretches
from titans_seq.domains.genomics.tracks import Hit, format_header, format_hit, track_format
from titans_seq.errors import DataError, TitansSeqWarning


def write(path, records, width=7, end="\n"):
    text = "".join(
        f">{name} a title{end}" + "".join(s[i : i + width] + end for i in range(0, len(s), width))
        for name, s in records
    )
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("seed", range(20))
def test_windows_whatever_the_blocks(tmp_path, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(stream, "BLOCK", int(rng.integers(20, 60)))
    letters = list("ACGTNacgt")
    records = [(f"r{i}", "".join(rng.choice(letters, rng.integers(1, 150)))) for i in range(rng.integers(1, 6))]
    window = int(rng.integers(1, 80))
    stride = int(rng.integers(1, window + 1))
    name = "a.fa.gz" if seed % 2 else "a.fa"
    path = write(tmp_path / name, records, int(rng.integers(1, 30)), "\r\n" if seed % 3 else "\n")
    expected = []
    for name, sequence in records:
        (codes,) = encode_sequences([sequence])
        starts = list(range(0, len(codes) - window + 1, stride)) or [0]
        if starts[-1] + window < len(codes):
            starts.append(len(codes) - window)
        expected += [(name, start, codes[start : start + window].tolist()) for start in starts]
    seen = []
    found = [
        (part.name, start, codes)
        for part in cut_windows(read_stretches(path, seen.append), window, stride)
        for start, codes in zip(part.starts.tolist(), part.codes.tolist(), strict=True)
    ]
    assert found == expected
    assert seen[-1] == path.stat().st_size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"ACGT\n", "begins with 'A', not >"),
        (b">\nACGT\n", "a record without a name"),
        (b">a\n>b\nACGT\n", "record 'a' has no letters"),
        (b">a\nACGT\n>b", "record 'b' has no letters"),
        (b">a\nACGT\n>a\nACGT\n", "two records named 'a'"),
        (b">a\nMKLVEFPQIL\n", "record 'a' has 'L' at position 3.*protein"),
        (b">a\nAC-GT\n", "has a gap"),
        (b"\xff\xfe\x00", "is no FASTA"),
        (gzip.compress(b">a\n" + b"ACGTTGCA" * 9999, mtime=0)[:60], "damaged gzip"),
    ],
)
def test_wrong_genomes(tmp_path, content, message):
    (tmp_path / "a.fa").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_stretches(tmp_path / "a.fa"))


def test_missing_genome_and_endless_title(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no such file"):
        list(read_stretches(tmp_path / "b.fa"))
    monkeypatch.setattr(stream, "BLOCK", 64)
    (tmp_path / "a.fa").write_bytes(b">" + b"x" * 1000)
    with pytest.raises(DataError, match="title of more than 64 bytes"):
        list(read_stretches(tmp_path / "a.fa"))


def test_rna_is_read_with_a_note(tmp_path):
    path = write(tmp_path / "a.fa", [("r", "ACGU" * 10)])
    with pytest.warns(TitansSeqWarning, match="holds U, as RNA does"):
        (first, _) = read_stretches(path)
    assert first.codes[:4].tolist() == [0, 1, 2, 3]


def test_scores_are_those_of_the_classifier(tmp_path, fitted, stranded):
    rng = np.random.default_rng(0)
    sequence = "".join(rng.choice(list("ACGT"), 500)) + "N" * 100 + "".join(rng.choice(list("ACGT"), 33))
    path = write(tmp_path / "a.fa", [("one", sequence), ("two", "ACGTACGTTT" * 4)], 60)
    parts = list(scan(fitted, path, 40, 10, 1))
    assert all(part.reverse is None for part in parts)
    for part in parts:
        for start, value in zip(part.starts.tolist(), part.forward.tolist(), strict=True):
            window = (sequence if part.name == "one" else "ACGTACGTTT" * 4)[start : start + 40]
            if window.count("N") > 20:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(fitted.predict_proba([window])[0, 1], abs=1e-6)
    complement = sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1]
    (first, *_) = scan(stranded, path, 40, 10, 1)
    expected = stranded.predict_proba([complement[-40 - s :][:40] for s in range(0, 100, 10)])[:, 1]
    np.testing.assert_allclose(first.reverse[:10], expected, atol=1e-6)


SCORES = [
    WindowScores("a", np.array([0, 10, 20]), 20, np.array([0.9, 0.2, np.nan]), np.array([0.1, 0.6, np.nan])),
    WindowScores("a", np.array([25]), 20, np.array([0.7]), np.array([0.8])),
    WindowScores("b", np.array([0]), 5, np.array([0.5]), None),
]


def test_hits_and_profile():
    assert [(h.name, h.start, h.end, h.strand, h.probability) for h in find_hits(SCORES, 0.5)] == [
        ("a", 0, 20, "+", 0.9), ("a", 10, 30, "-", 0.6), ("a", 25, 45, "+", 0.7), ("a", 25, 45, "-", 0.8),
        ("b", 0, 5, ".", 0.5),
    ]  # fmt: skip
    found = [(h.name, h.start, h.end, h.probability) for h in tile_records(SCORES)]
    assert found == [("a", 0, 15, 0.9), ("a", 15, 25, 0.6), ("a", 32, 45, 0.8), ("b", 0, 5, 0.5)]


def test_formats_count_as_they_should():
    hit = Hit("chr 1;x", 0, 20, 0.98765, "+")
    assert format_hit("bed", hit, "a class", 1) == "chr 1;x\t0\t20\ta_class\t988\t+\n"
    assert format_hit("bedgraph", hit, "a", 1) == "chr 1;x\t0\t20\t0.9877\n"
    gff = format_hit("gff3", hit, "a;b=c", 7).rstrip("\n").split("\t")
    assert gff[:5] == ["chr%201%3Bx", "titans-seq", "sequence_feature", "1", "20"]
    assert gff[5:] == ["0.9877", "+", ".", "ID=chr%201%3Bx.7;Name=a%3Bb%3Dc"]
    assert format_header("gff3", "x") == "##gff-version 3\n"
    assert re.fullmatch(r'track type=bedGraph name="a_\'b" .*\n', format_header("bedgraph", 'a "b'))
    assert format_header("bed", "x") == ""


def test_the_suffix_tells_the_format(tmp_path):
    assert track_format(tmp_path / "a.BG") == "bedgraph"
    with pytest.raises(DataError, match=r"one of \.bed, \.bedgraph"):
        track_format(tmp_path / "a.txt")
