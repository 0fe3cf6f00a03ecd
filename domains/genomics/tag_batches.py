"""Segments of sequences whose letters have classes. Axes: B segments, L letters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from titans_seq.domains.genomics.alphabet import PAD, Rows

LEAST_BATCHES = 100
"""Batches of a pass at the least: a small genome is read several times."""
IGNORED = -1
"""Class of padding, and of what is not to be learned."""


@dataclass
class Tagged:
    """A batch of segments."""

    codes: Tensor
    """Codes (B, L) uint8, padded behind."""
    classes: Tensor
    """Numbers of the classes (B, L) int64; `IGNORED` where there is none."""

    def __len__(self) -> int:
        return len(self.codes)


class TaggedSegments(IterableDataset[Tagged]):
    """Segments from anywhere in some sequences, other ones in each pass; as many letters in a pass as there are."""

    def __init__(self, rows: Rows, classes: Sequence[NDArray[np.int64]], size: int, batch: int, seed: int) -> None:
        super().__init__()
        self.rows, self.classes, self.size, self.batch = rows, classes, size, batch
        self.generator = np.random.default_rng(seed)
        lengths = np.array([len(row) for row in rows], dtype=float)
        self.shares = lengths / lengths.sum()
        self.count = max(LEAST_BATCHES, round(float(lengths.sum()) / (size * batch)))

    def __len__(self) -> int:
        return int(self.count)

    def __iter__(self) -> Iterator[Tagged]:
        for _ in range(self.count):
            owners = self.generator.choice(len(self.rows), self.batch, p=self.shares)
            pieces = []
            for owner in owners.tolist():
                last = max(0, len(self.rows[owner]) - self.size)
                start = int(self.generator.integers(0, last + 1))
                pieces.append((owner, slice(start, start + self.size)))
            yield _stack(self.rows, self.classes, pieces)

    def loader(self) -> DataLoader[Tagged]:
        """Return the batches."""
        return DataLoader(self, batch_size=None)


def fixed_segments(rows: Rows, classes: Sequence[NDArray[np.int64]], size: int, batch: int) -> "DataLoader[Tagged]":
    """Return all letters once, in segments, the last one of a sequence shorter."""
    pieces = [(i, slice(start, start + size)) for i, row in enumerate(rows) for start in range(0, len(row), size)]
    batches = [_stack(rows, classes, pieces[first : first + batch]) for first in range(0, len(pieces), batch)]
    return DataLoader(batches, batch_size=None, shuffle=False)  # type: ignore[arg-type]


def _stack(rows: Rows, classes: Sequence[NDArray[np.int64]], pieces: Sequence[tuple[int, slice]]) -> Tagged:
    found = [(rows[owner][where], classes[owner][where]) for owner, where in pieces]
    size = max(len(row) for row, _ in found)
    codes = np.full((len(found), size), PAD, dtype=np.uint8)
    numbers = np.full((len(found), size), IGNORED, dtype=np.int64)
    for k, (row, own) in enumerate(found):
        codes[k, : len(row)], numbers[k, : len(own)] = row, own
    return Tagged(torch.from_numpy(codes), torch.from_numpy(numbers))


def tagging_loss(network: nn.Module, batch: Tagged) -> Tensor:
    """Return the cross-entropy of the letters of a batch."""
    logits = network(batch.codes)
    return F.cross_entropy(logits.flatten(0, 1), batch.classes.flatten(), ignore_index=IGNORED)
