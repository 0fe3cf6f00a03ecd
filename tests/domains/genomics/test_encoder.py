"""Letters to codes: every kind of sequence, and what is refused."""

import numpy as np
import pytest
from Bio.Seq import MutableSeq, Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from titans_seq.domains.genomics.alphabet import PAD, UNKNOWN, encode, reverse_complement
from titans_seq.domains.genomics.encoder import SequenceEncoder, encode_sequences
from titans_seq.errors import DataError, TitansSeqWarning

KINDS = ["ACGTN", b"ACGTN", Seq("ACGTN"), MutableSeq("ACGTN"), SeqRecord(Seq("ACGTN"), id="r1"), "acgtn"]


@pytest.mark.parametrize("x", KINDS)
def test_kinds_agree(x):
    assert SequenceEncoder().transform([x]).tolist() == [[0, 1, 2, 3, UNKNOWN]]


def test_rna_is_read_as_dna_with_a_note():
    with pytest.warns(TitansSeqWarning, match="2 sequences hold U, as RNA does: it is read as T"):
        assert SequenceEncoder().transform(["ACGUN", "uu", "GG"]).tolist()[0] == [0, 1, 2, 3, UNKNOWN]


def test_codes_pass_through():
    codes = SequenceEncoder().transform(["ACG", "T"])
    np.testing.assert_array_equal(SequenceEncoder().transform(codes), codes)
    with pytest.raises(DataError, match="codes must be 0 to 5, not 9"):
        encode_sequences(np.full((1, 3), 9, dtype=np.uint8))
    with pytest.raises(DataError, match="sequence 2 is empty"):
        encode_sequences(np.array([[0], [PAD]], dtype=np.uint8))
    with pytest.raises(DataError, match="padding must stand behind"):
        encode_sequences(np.array([[PAD, 0]], dtype=np.uint8))


def test_lengths_are_padded_behind():
    got = SequenceEncoder().fit_transform(["ACG", "T", Seq("GG")])
    assert got.tolist() == [[0, 1, 2], [3, PAD, PAD], [2, 2, PAD]]
    assert got.dtype == np.uint8


def test_every_iupac_letter():
    got = SequenceEncoder().transform(["RYSWKMBDHVNryswkmbdhvn"])
    assert (got == UNKNOWN).all()


@given(st.lists(st.text("ACGTNacgtn", min_size=1, max_size=30), min_size=1, max_size=5))
def test_reverse_complement_is_biopythons(rows):
    codes = SequenceEncoder().transform(rows)
    expected = SequenceEncoder().transform([str(Seq(row).reverse_complement()) for row in rows])
    np.testing.assert_array_equal(reverse_complement(codes), expected)
    np.testing.assert_array_equal(reverse_complement(reverse_complement(codes)), codes)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([], "there are no sequences"),
        ([""], "sequence 1 is empty"),
        (["ACGT", "ACXT"], "sequence 2 has 'X' at position 3"),
        (["MKLVEFPQIL"], "looks like a protein"),
        (["AC-GT"], "has a gap"),
        (["AC GT"], "no letter of DNA"),
        (["ACGÜ"], "'Ü' at position 4"),
        ([1], "sequence 1 is int"),
        (["ACGT", None], "sequence 2 is NoneType"),
        ("ACGT", "put it into a list"),
        (SeqRecord(Seq("ACGT"), id="r"), "put it into a list"),
        (np.array([["A", "C"]]), "one column"),
        ([SeqRecord(Seq("ACZ"), id="chr1")], "sequence 1 \\(chr1\\)"),
        ([Seq(None, length=4)], "no letters"),
    ],
)
def test_refused(X, message):
    with pytest.raises(DataError, match=message):
        SequenceEncoder().transform(X)


def test_ambiguous_letters_can_be_refused():
    with pytest.raises(DataError, match="'r' at position 2, which names no single base"):
        SequenceEncoder(ambiguous="error").transform(["ArC"])
    with pytest.raises(DataError, match="ambiguous must be"):
        SequenceEncoder(ambiguous="drop").fit(["A"])


def test_in_a_pipeline():
    pipe = make_pipeline(clone(SequenceEncoder(ambiguous="error")))
    assert pipe.fit(["AC"]).transform(np.array(["GT"])).tolist() == [[2, 3]]


def test_long_sequences_are_fast():
    import time

    started = time.process_time()
    encode(b"ACGTN" * 2_000_000, "genome")
    assert time.process_time() - started < 2
