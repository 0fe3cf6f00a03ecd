"""Segments of documents for training: none reaches beyond its document.

What is shorter than a segment is read whole, beside others of about its length; padding has no loss.

Axes: B batch, T tokens of a segment.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset

from titans_seq.domains.language.segments import SHORTEST, GrowingSegments, Segments, loader
from titans_seq.domains.language.vocabulary import IGNORED

POOL = 8
"""Batches that are drawn together, so that segments of like length can share one."""
DRAWN = 64
"""Segments that are drawn at a time."""


class DocumentSegments(GrowingSegments):
    """The same of documents: a document is drawn by its length, and what is longer than a segment is cut anywhere.

    Args:
        rows: tokens of each document, with the `end` before and behind it.
    """

    def __init__(self, rows: Sequence[Tensor], length: int, size: int, count: int, seed: int) -> None:
        super().__init__(torch.cat([*rows]), length, size, count, seed)
        self.lengths = torch.tensor([len(row) for row in rows])
        self.ends = self.lengths.cumsum(0)

    def __iter__(self) -> Iterator[Segments]:
        pool: list[Segments] = []
        of = None
        for _ in range(self.count):
            if not pool or self.shape() != of:
                of = self.shape()
                pool = side_by_side(self._draw(*of), of[0] * of[1])
                order = torch.randperm(len(pool), generator=self.generator)
                pool = [pool[i] for i in order]
            yield pool.pop()

    def _draw(self, length: int, batch: int) -> list[Tensor]:
        """Return segments of up to `length` + 1 tokens, of `POOL` batches together at the least."""
        found: list[Tensor] = []
        total = 0
        while total < POOL * length * batch:
            document = torch.searchsorted(
                self.ends, torch.randint(len(self.tokens), (DRAWN,), generator=self.generator), right=True
            )
            whole = self.lengths[document]
            size = whole.clamp_max(length + 1)
            skipped = (torch.rand(DRAWN, generator=self.generator, dtype=torch.float64) * (whole - size + 1)).long()
            starts = self.ends[document] - whole + skipped
            found += [self.tokens[a : a + n] for a, n in zip(starts.tolist(), size.tolist(), strict=True)]
            total += int(size.sum())
        return found


class EvenDocuments(IterableDataset[Segments]):
    """Documents once, for validation: each in segments of `length` tokens, and what is left."""

    def __init__(self, rows: Sequence[Tensor], length: int, size: int) -> None:
        super().__init__()
        pieces = [row[start : start + length + 1] for row in rows for start in range(0, len(row) - 1, length)]
        self.batches = side_by_side(pieces, size)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Segments]:
        return iter(self.batches)


def side_by_side(pieces: Sequence[Tensor], size: int) -> list[Segments]:
    """Return batches of pieces of like length, of up to `size` tokens with padding, or one piece."""
    ordered = sorted(pieces, key=len, reverse=True)
    batches = []
    while ordered:
        count = max(1, size // (len(ordered[0]) - 1))
        rows, ordered = ordered[:count], ordered[count:]
        tokens = pad_sequence(rows, batch_first=True, padding_value=IGNORED)
        batches.append(Segments(tokens, torch.ones(len(rows), dtype=torch.bool)))
    return batches


def document_segments(
    training: Sequence[Tensor], validation: Sequence[Tensor], length: int, batch: int, steps: int, seed: int
) -> tuple[DataLoader[Segments], DataLoader[Segments]]:
    """Return the batches of a pass over documents, and those that validate; see `segments.training_segments`."""
    size = batch * min(length, SHORTEST)
    segments = DocumentSegments(training, length, size, steps, seed)
    return loader(segments), loader(EvenDocuments(validation, length, 4 * max(size, length)))
