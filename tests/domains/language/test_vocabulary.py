"""Tokens: bytes and symbols, there and back."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from titans_seq.domains.language.byte_pairs import BytePairs, byte_letters
from titans_seq.domains.language.vocabularies import (
    StoredVocabulary,
    learn_vocabulary,
    restore_vocabulary,
    store_vocabulary,
)
from titans_seq.domains.language.vocabulary import Bytes, Symbols
from titans_seq.errors import DataError


@given(st.text())
def test_bytes_read_any_text(text):
    vocabulary = Bytes()
    tokens = vocabulary.encode(text)
    assert bytes(tokens.tolist()) == text.encode()
    assert vocabulary.decode(tokens) == text
    assert vocabulary.size == 257


@given(st.text(min_size=1))
def test_symbols_are_the_characters_of_the_text(text):
    vocabulary = Symbols.of(text)
    assert vocabulary.size == len(set(text)) + 1
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_a_symbol_that_was_never_seen_is_named():
    with pytest.raises(DataError, match="'z' at position 3 is not in the model's vocabulary"):
        Symbols.of("ab").encode("abz")


def test_half_a_surrogate_pair_is_no_text():
    with pytest.raises(DataError, match="position 2 is no character of UTF-8"):
        Bytes().encode("a\udcff")


def test_characters_come_out_when_they_are_complete_and_end_ends():
    vocabulary = Bytes()
    tokens = [*"né".encode(), vocabulary.end, 65]
    assert list(vocabulary.decode_stream(iter(tokens))) == ["n", "é"]
    assert vocabulary.decode(torch.tensor([0xC3])) == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [("words", "a", "vocabulary must be one of"), ("symbols", "".join(map(chr, range(256, 2**15 + 256))), "use bytes")],
)
def test_wrong_vocabularies(kind, text, message):
    with pytest.raises(DataError, match=message):
        learn_vocabulary(kind, text, 300)


WORDS = "the cat sat on the mat, and the other cat, that sat on the hat: won't they?\n\n  the\tend \n" * 20


@pytest.fixture(scope="module")
def pairs():
    return BytePairs.learn(WORDS, 320)


@given(text=st.text())
def test_byte_pairs_read_any_text(pairs, text):
    tokens = pairs.encode(text)
    assert pairs.decode(tokens) == text
    assert b"".join(pairs.contents[t] for t in tokens.tolist()) == text.encode()
    assert all(content.count(b"\n") == (content == b"\n") for content in pairs.contents)


def test_byte_pairs_are_those_of_the_text(pairs):
    assert 257 < pairs.size <= 320
    assert b" the" in pairs.contents
    assert len(pairs.encode(WORDS)) < len(WORDS) / 2
    assert [pairs.contents[b] for b in range(256)] == Bytes().contents


@given(text=st.text("ab \n\t'1é", max_size=60), cuts=st.lists(st.integers(0, 60)))
def test_byte_pairs_do_not_depend_on_the_pieces_of_a_text(pairs, text, cuts):
    ends = [0, *sorted(cuts), len(text)]
    parts = [text[a:b] for a, b in itertools.pairwise(ends)]
    assert torch.cat([*pairs.encode_pieces(parts)]).tolist() == [pairs.end, *pairs.encode(text).tolist()]


def test_letters_are_those_of_the_library():
    from tokenizers import pre_tokenizers

    assert sorted(byte_letters()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str("é")[0][0] == "".join(
        byte_letters()[byte] for byte in "é".encode()
    )


@pytest.mark.parametrize("vocabulary", [Bytes(), Symbols("abc"), BytePairs(((97, 98), (256, 99)))])
def test_what_a_vocabulary_learned_is_stored(vocabulary):
    stored = StoredVocabulary(**store_vocabulary(vocabulary))
    again = restore_vocabulary(vocabulary.kind, stored)
    assert again.contents == vocabulary.contents
    assert again.encode("abcab").tolist() == vocabulary.encode("abcab").tolist()
    for other in {"bytes", "symbols", "bpe"} - {vocabulary.kind}:
        with pytest.raises(ValueError, match="does not fit its kind"):
            restore_vocabulary(other, stored)


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ([(97, 256)], "not made of earlier"),
        ([(-1, 97)], "not made of earlier"),
        ([(97, 97), *((256 + i, 256 + i) for i in range(60))], "more than 64 bytes"),
    ],
)
def test_pairs_that_cannot_be(merges, message):
    with pytest.raises(ValueError, match=message):
        BytePairs(tuple(merges))
