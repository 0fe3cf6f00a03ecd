"""n-grams and compressors, in bits per byte."""

import bz2
import math
import random

import pytest

from titans_seq.domains.language.baselines import baseline_bits, compressed_bits, ngram_bits


def witten_bell(train, context, byte):
    """The definition, by hand."""
    if context is None:
        return 1 / 256
    seen = [train[i + len(context)] for i in range(len(train) - len(context)) if train[i : i + len(context)] == context]
    lower = witten_bell(train, context[1:] if context else None, byte)
    if not seen:
        return lower
    kinds = len(set(seen))
    return (seen.count(byte) + kinds * lower) / (len(seen) + kinds)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_definition(order):
    train, test = "abracadabra, abra cadabra, né", "abra é cab"
    data, asked = train.encode(), test.encode()
    bits = 0.0
    for place, byte in enumerate(asked):
        before = (data + asked[:place])[-(order - 1) :] if order > 1 else b""
        bits -= math.log2(witten_bell(data, before, byte))
    assert ngram_bits(train, test, order) == pytest.approx(bits / len(asked))


def test_random_bytes_cost_eight_bits_or_more_and_repetition_little():
    noise = random.Random(0)
    letters = ["".join(chr(noise.randrange(128)) for _ in range(5000)) for _ in range(2)]
    assert ngram_bits(*letters, 1) == pytest.approx(7, abs=0.1)
    assert ngram_bits("ab" * 2000, "ab" * 100, 3) < 0.01


def test_chances_add_up_to_one():
    train = "the cat sat on the mat"
    data = train.encode()
    total = sum(witten_bell(data, b"ca", b) for b in range(256))
    assert total == pytest.approx(1)


def test_compressors_count_what_the_test_text_adds():
    train, test = "to be or not to be " * 50, "that is the question " * 5
    together, alone = (8 * len(bz2.compress(t.encode())) for t in (train + test, train))
    assert compressed_bits(train, test, "bz2") == (together - alone) / len(test)


def test_all_of_them():
    found = baseline_bits("to be or not to be " * 50, "to be or not " * 10)
    assert set(found) == {"unigram", "bigram", "trigram", "5-gram", "gzip", "bz2", "lzma"}
    assert found["5-gram"] < found["trigram"] < found["bigram"] < found["unigram"]


@pytest.mark.parametrize("order", [0, 8])
def test_wrong_orders(order):
    with pytest.raises(ValueError, match="order must be"):
        ngram_bits("a", "a", order)
