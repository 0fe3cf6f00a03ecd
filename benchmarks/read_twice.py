"""Rows of text in which one passage stands twice, at places and with a distance of their own.

Axes: B rows, T tokens of a row.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from benchmarks.growth import Growth

SHORTEST = 64
"""Tokens of a row at first."""
PASSAGE = (24, 256)
"""Tokens of a passage, fewer in short rows."""
UNKNOWN = 8
"""Tokens at the start of a second reading that do not tell it to be one."""
LEARNED = 0.72
"""Running mean of a second reading's loss, in parts of the first's, at which rows may be longer."""


class TwiceRead(NamedTuple):
    """Rows, and where their passages stand."""

    tokens: Tensor
    """(B, T) int64."""
    first: Tensor
    """(B, T) bool: tokens of the first reading."""
    again: Tensor
    """(B, T) bool: tokens of the second one that can be known."""


class ReadTwice(IterableDataset[TwiceRead]):
    """Batches of rows: other text, a passage, other text, and the passage again.

    The longest length doubles when second readings of that length cost little enough; half of the batches have it.

    Args:
        tokens: of the text.
        longest: tokens of the longest rows, SHORTEST times a power of two.
        size: tokens of a batch; one row at the least.
        count: batches of a pass.
        fixed: the same batches, of the longest rows, in every pass.
    """

    def __init__(self, tokens: Tensor, longest: int, size: int, count: int, seed: int, fixed: bool = False) -> None:
        super().__init__()
        self.growth = Growth(SHORTEST, longest, LEARNED)
        self.longest = longest if fixed else None
        self.tokens, self.size, self.count, self.seed = tokens.long(), size, count, seed
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[TwiceRead]:
        if self.longest is not None:
            self.rng = np.random.default_rng(self.seed)
        for _ in range(self.count):
            length = self.longest or (self.growth.length if self.rng.random() < 0.5 else self.growth.draw(self.rng))
            rows = [self._row(length) for _ in range(max(1, self.size // length))]
            yield TwiceRead(*(torch.stack(part) for part in zip(*rows, strict=True)))

    def judge(self, batch: TwiceRead, losses: Tensor) -> None:
        """Take in the losses of the tokens behind the first one, (B, T - 1) nats, of a training step."""
        if batch.tokens.shape[1] == self.growth.length:
            once, again = (losses[where[:, 1:]].mean() for where in batch[1:])
            self.growth.judge(float(again / once))

    def _row(self, length: int) -> TwiceRead:
        least, most = (min(size, length // part) for size, part in zip(PASSAGE, (4, 2), strict=True))
        passage = self._draw(least, most)
        rest = length - 2 * passage
        lead = self._draw(0, rest)
        start, other = (self._draw(0, len(self.tokens) - length) for _ in range(2))
        first = self.tokens[start : start + lead + passage]
        tokens = torch.cat([first, self.tokens[other : other + rest - lead], first[lead:]])
        place = torch.arange(length)
        once = (place >= lead + UNKNOWN) & (place < lead + passage)
        return TwiceRead(tokens, once, place >= length - passage + UNKNOWN)

    def _draw(self, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`."""
        return int(self.rng.integers(least, most + 1))
