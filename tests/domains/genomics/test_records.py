"""Sequence files: what is read, and what is refused in one line."""

import gzip

import pytest

from titans_seq.domains.genomics.cuts import Cuts
from titans_seq.domains.genomics.labelled import read_labelled
from titans_seq.domains.genomics.records import read_fasta
from titans_seq.errors import DataError

GENBANK = """LOCUS       TEST                  30 bp    DNA     linear   UNK 01-JAN-1980
DEFINITION  test.
ACCESSION   TEST
VERSION     TEST.1
FEATURES             Location/Qualifiers
     source          1..30
     CDS             complement(join(1..8,21..30))
ORIGIN
        1 acgtacgtac gtacgtacgt acgtacgtac
//
"""


def put(folder, name, text):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.txt"])
def test_tables(tmp_path, name):
    text = "id,Sequence,LABEL\nx,ACGT,1\ny,GG,0\n"
    found = read_labelled(put(tmp_path, name, text.replace(",", "\t") if "csv" not in name else text))
    assert found.sequences == ["ACGT", "GG"]
    assert found.labels == ["1", "0"]
    assert found.groups == ["x", "y"]


def test_na_is_a_sequence_and_a_label(tmp_path):
    """pandas would read NA as missing."""
    found = read_labelled(put(tmp_path, "a.csv", "seq,label\nNA,NA\n"))
    assert (found.sequences, found.labels) == (["NA"], ["NA"])


def test_fasta(tmp_path):
    path = put(tmp_path, "a.fa.gz", ">one first\nAC\nGT\n>two\nN\n")
    assert list(read_fasta(path)) == [("one", "ACGT"), ("two", "N")]


def test_windows(tmp_path):
    found = read_labelled(put(tmp_path, "a.gb", GENBANK), Cuts(window=10, stride=10))
    # 8 of the first 10 letters, none of the next, all of the last
    assert found.labels == ["CDS", "no CDS", "CDS"]
    assert found.names == ["TEST.1:1-10", "TEST.1:11-20", "TEST.1:21-30"]
    assert found.sequences[0].upper() == "ACGTACGTAC"


def test_chloroplast(real_data):
    found = read_labelled(real_data / "genomics" / "NC_000932.gb", Cuts(window=150, stride=150))
    coding = found.labels.count("CDS")
    assert 0.35 < coding / len(found.labels) < 0.6
    assert len(found.labels) > 800


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.fa", "", "is empty"),
        ("a.fa", "ACGT\n", "begins with 'A', not >"),
        ("a.fa", ">a\nAC\n>a\nGT\n", "two records named 'a'"),
        ("a.fa", ">a\n>b\nAC\n", "'a' has no letters"),
    ],
)
def test_wrong_fasta(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        list(read_fasta(put(tmp_path, name, text)))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.fa", ">a\nAC\n", "FASTA, which has no labels"),
        ("a.bam", "x", "no kind of sequence file"),
        ("a.csv", "", "cannot read"),
        ("a.csv", "sequence,label\n", "no rows"),
        ("a.csv", "x,y2\nA,1\n", "needs columns sequence and label, it has x, y2"),
        ("a.csv", "sequence,label\nAC,1\nGT,\n", "no label in row 3"),
        ("a.gb", "nonsense", "no records with features"),
        ("a.gb", GENBANK.replace("CDS ", "gene"), "no feature 'CDS'; it has gene, source"),
    ],
)
def test_wrong_labelled(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        read_labelled(put(tmp_path, name, text))


def test_windows_longer_than_the_record(tmp_path):
    with pytest.raises(DataError, match="as long as a window of 31"):
        read_labelled(put(tmp_path, "a.gb", GENBANK), Cuts(window=31))


def test_truncated_gzip(tmp_path):
    path = put(tmp_path, "a.csv.gz", "sequence,label\n" + "ACGT,1\n" * 1000)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="damaged gzip"):
        read_labelled(path)


def test_binary_and_missing(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x81" * 20)
    with pytest.raises(DataError, match="not text"):
        read_labelled(tmp_path / "a.csv")
    with pytest.raises(DataError, match="no such file"):
        read_labelled(tmp_path / "b.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_labelled(tmp_path)
