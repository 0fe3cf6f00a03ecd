"""Tokens: bytes and symbols, there and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from titans_seq.domains.language.vocabulary import Vocabulary
from titans_seq.errors import DataError


@given(st.text())
def test_bytes_read_any_text(text):
    vocabulary = Vocabulary.from_text("bytes", "")
    tokens = vocabulary.encode(text)
    assert bytes(tokens.tolist()) == text.encode()
    assert vocabulary.decode(tokens) == text
    assert vocabulary.size == 257


@given(st.text(min_size=1))
def test_symbols_are_the_characters_of_the_text(text):
    vocabulary = Vocabulary.from_text("symbols", text)
    assert vocabulary.size == len(set(text)) + 1
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_a_symbol_that_was_never_seen_is_named():
    with pytest.raises(DataError, match="'z' at position 3 is not in the model's vocabulary"):
        Vocabulary.from_text("symbols", "ab").encode("abz")


def test_half_a_surrogate_pair_is_no_text():
    with pytest.raises(DataError, match="position 2 is no character of UTF-8"):
        Vocabulary.from_text("bytes", "").encode("a\udcff")


def test_characters_come_out_when_they_are_complete_and_end_ends():
    vocabulary = Vocabulary.from_text("bytes", "")
    tokens = [*"né".encode(), vocabulary.end, 65]
    assert list(vocabulary.decode_stream(iter(tokens))) == ["n", "é"]
    assert vocabulary.decode(torch.tensor([0xC3])) == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [("words", "a", "vocabulary must be one of"), ("symbols", "".join(map(chr, range(256, 2**15 + 256))), "use bytes")],
)
def test_wrong_vocabularies(kind, text, message):
    with pytest.raises(DataError, match=message):
        Vocabulary.from_text(kind, text)
