"""One key and its value in front of noise, and the key once more behind it.

Axes: N examples, T tokens.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import IterableDataset

from benchmarks.options import doubled
from titans_seq.domains.language.mqar import Recall
from titans_seq.domains.language.vocabulary import IGNORED

NOISE, KEYS, VALUES = 64, 32, 32
"""Different tokens of each kind."""
VOCABULARY = NOISE + KEYS + VALUES
SHORTEST = 64
"""Tokens of the longest examples at first."""


def associations(count: int, length: int, seed: int) -> Recall:
    """Return examples of (count, length) tokens: key, value, noise, key; only the last one has a label."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(NOISE, size=(count, length))
    keys, values = rng.integers(KEYS, size=count) + NOISE, rng.integers(VALUES, size=count) + NOISE + KEYS
    tokens[:, 0], tokens[:, 1], tokens[:, -1] = keys, values, keys
    labels = np.full((count, length), IGNORED)
    labels[:, -1] = values
    return Recall(torch.from_numpy(tokens), torch.from_numpy(labels))


class Associations(IterableDataset[Recall]):
    """Batches of new examples whose longest lengths double from 64 to `most` over the first 60 % of the passes.

    Args:
        most: tokens of the longest examples, a power of two.
        tokens: of a batch; shorter examples come in batches of 64 at the most.
        count: batches of a pass.
        passes: over which the lengths grow.
    """

    def __init__(self, most: int, tokens: int, count: int, passes: int, seed: int) -> None:
        super().__init__()
        self.lengths = doubled(SHORTEST, most)
        self.tokens, self.count, self.passes, self.drawn = tokens, count, passes, 0
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Recall]:
        for _ in range(self.count):
            share = min(1.0, self.drawn / (0.6 * self.passes * self.count))
            known = 1 + int(share * (len(self.lengths) - 1))
            length = self.lengths[int(self.rng.integers(known))]
            self.drawn += 1
            yield associations(max(4, min(64, self.tokens // length)), length, int(self.rng.integers(2**62)))
