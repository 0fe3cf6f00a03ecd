"""What a model must beat: counts of n-grams, and the compressors of the standard library. All in bits per byte.

Axes: T tokens.
"""

import bz2
import gzip
import lzma
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.language.vocabulary import BYTES, utf8

HIGHEST = 7
"""Order up to which contexts of bytes fit into 64 bits."""


def ngram_bits(train: str, test: str, order: int) -> float:
    """Return bits per byte of `test` under an n-gram model of bytes, with the smoothing of Witten and Bell (1991).

    p_n(c | h) = (count(h c) + kinds(h) p_{n-1}(c | h')) / (count(h) + kinds(h)), down to a uniform byte; contexts at
    the start of the test text reach back into the training text.
    """
    if not 1 <= order <= HIGHEST:
        raise ValueError(f"order must be from 1 to {HIGHEST}, not {order}")
    seen = np.frombuffer(utf8(train), np.uint8)
    asked = np.frombuffer(utf8(test), np.uint8)
    stream = np.concatenate([seen[max(0, len(seen) - order + 1) :], asked])
    chance = np.full(len(asked), 1 / BYTES)
    for n in range(1, min(order, len(seen)) + 1):
        grams, counts = np.unique(_grams(seen, n), return_counts=True)
        contexts, first, kinds = np.unique(grams >> 8, return_index=True, return_counts=True)
        totals = np.add.reduceat(counts, first)
        wanted = _grams(stream, n)[-len(asked) :]
        count = _look_up(grams, counts, wanted)
        total, kind = (_look_up(contexts, values, wanted >> 8) for values in (totals, kinds))
        known = total > 0
        chance[known] = (count[known] + kind[known] * chance[known]) / (total[known] + kind[known])
    return float(-np.log(chance).mean() / math.log(2))


def _grams(data: NDArray[np.uint8], n: int) -> NDArray[np.int64]:
    """Return every run of n bytes as one number, the last byte lowest."""
    wide, length = data.astype(np.int64), len(data) - n + 1
    grams: NDArray[np.int64] = np.sum([wide[i : i + length] << (8 * (n - 1 - i)) for i in range(n)], axis=0)
    return grams


def _look_up(keys: NDArray[np.int64], values: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the values of sorted keys, 0 where there is no such key."""
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 9, mtime=0),
    "bz2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
}


def compressed_bits(train: str, test: str, name: str) -> float:
    """Return bits per byte that `test` adds to `train` when a compressor packs both."""
    compress, before, after = COMPRESSORS[name], utf8(train), utf8(test)
    return 8 * (len(compress(before + after)) - len(compress(before))) / len(after)


def baseline_bits(train: str, test: str) -> dict[str, float]:
    """Return every baseline's bits per byte of `test`, having seen `train`."""
    orders = {"unigram": 1, "bigram": 2, "trigram": 3, "5-gram": 5}
    return {name: ngram_bits(train, test, order) for name, order in orders.items()} | {
        name: compressed_bits(train, test, name) for name in COMPRESSORS
    }
