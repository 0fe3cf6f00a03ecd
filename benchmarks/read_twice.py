"""Rows of text in which one passage stands twice, at places and with a distance of their own.

Axes: B rows, T bytes of a row.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from benchmarks.options import doubled

SHORTEST = 128
"""Bytes of a row at first."""


class ReadTwice(IterableDataset[Tensor]):
    """Batches (B, T) of rows: other text, a passage of T / 8 to T / 2 bytes, other text, and the passage again.

    T doubles over the first half of the training.

    Args:
        tokens: of the text.
        longest: bytes of the longest rows, SHORTEST times a power of two.
        size: bytes of a batch; two rows at the least.
        count: batches of a pass.
        fixed: the same batches, of the longest rows, in every pass.
    """

    progress = 0.0
    """Share of the training that is over; the training sets it."""

    def __init__(self, tokens: Tensor, longest: int, size: int, count: int, seed: int, fixed: bool = False) -> None:
        super().__init__()
        self.lengths = doubled(SHORTEST, longest)
        self.tokens, self.size, self.count, self.seed, self.fixed = tokens.long(), size, count, seed, fixed
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Tensor]:
        if self.fixed:
            self.generator.manual_seed(self.seed)
        last = len(self.lengths) - 1
        for _ in range(self.count):
            length = self.lengths[last if self.fixed else min(last, int(2 * last * self.progress))]
            yield torch.stack([self._row(length) for _ in range(max(2, self.size // length))])

    def _row(self, length: int) -> Tensor:
        passage = self._draw(length // 8, length // 2)
        rest = length - 2 * passage
        lead = self._draw(0, rest)
        start, other = (self._draw(0, len(self.tokens) - length) for _ in range(2))
        first = self.tokens[start : start + lead + passage]
        return torch.cat([first, self.tokens[other : other + rest - lead], first[lead:]])

    def _draw(self, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`."""
        return int(torch.randint(least, most + 1, (), generator=self.generator))
