"""Passages of a text, each read twice: rows of 2 L bytes whose second half is the first once more.

Axes: B rows, L bytes of a passage.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

SHORTEST = 64
"""Bytes of a passage at first."""


class ReadTwice(IterableDataset[Tensor]):
    """Batches (B, 2 L) of passages from anywhere; L doubles over the first half of the training.

    Args:
        tokens: (T,) of the text.
        longest: bytes of the longest passages, SHORTEST times a power of two.
        size: bytes of a batch; two rows at the least.
        count: batches of a pass.
        fixed: the same batches in every pass, with passages of this length.
    """

    progress = 0.0
    """Share of the training that is over; the training sets it."""

    def __init__(
        self, tokens: Tensor, longest: int, size: int, count: int, seed: int, fixed: int | None = None
    ) -> None:
        super().__init__()
        self.lengths = [SHORTEST << power for power in range((longest // SHORTEST).bit_length())]
        self.tokens, self.size, self.count, self.seed, self.fixed = tokens.long(), size, count, seed, fixed
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Tensor]:
        if self.fixed is not None:
            self.generator.manual_seed(self.seed)
        for _ in range(self.count):
            last = len(self.lengths) - 1
            length = self.fixed or self.lengths[min(last, int(2 * last * self.progress))]
            rows = max(2, self.size // (2 * length))
            starts = torch.randint(len(self.tokens) - length, (rows, 1), generator=self.generator)
            passages = self.tokens[starts + torch.arange(length)]
            yield torch.cat([passages, passages], 1)
