"""Segments of a text for training, and the loss over them with or without the memory of the segments before.

Axes: B batch, T tokens of a segment.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from titans_seq.backbone import BackboneState
from titans_seq.domains.language.network import LanguageNetwork
from titans_seq.domains.language.vocabulary import IGNORED

SHORTEST = 64
"""Tokens of the first segments, at the least, if the longest have more."""

GROWN = 0.8
"""Share of a training in whose equal parts segments double; the last length has what is left besides."""


RESTART = 1 / 16
"""Chance per batch that a row that reads on goes elsewhere and begins anew: it reads 16 segments on average."""


@dataclass
class Segments:
    """One batch."""

    tokens: Tensor
    """(B, T + 1): inputs, and each one's successor; IGNORED behind the end of a shorter row."""
    fresh: Tensor
    """(B,) bool: rows that do not follow on the batch before."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def weight(self) -> int:
        """Tokens that have a loss."""
        return int((self.tokens[:, 1:] != IGNORED).sum())


class GrowingSegments(IterableDataset[Segments]):
    """Segments from anywhere in a text, each on its own; short and many at first, later long and few.

    Their length doubles from about `SHORTEST` on, and each batch holds as many tokens: what stands near is learned
    sooner from many places than from a few long stretches.

    Args:
        tokens: of the text (N,).
        length: tokens of the longest segments.
        size: tokens of a batch, but for what is left over.
        count: batches of a pass.
        seed: of the places.
    """

    def __init__(self, tokens: Tensor, length: int, size: int, count: int, seed: int) -> None:
        super().__init__()
        self.tokens, self.length, self.size, self.count = tokens, length, size, count
        self.generator = torch.Generator().manual_seed(seed)
        self.progress = 0.0
        """Share of the training that is over; `titans_seq.training.train` keeps it."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Segments]:
        for _ in range(self.count):
            length, batch = self.shape()
            starts = torch.randint(len(self.tokens) - length, (batch, 1), generator=self.generator)
            yield Segments(self.tokens[starts + torch.arange(length + 1)], torch.ones(batch, dtype=torch.bool))

    def shape(self) -> tuple[int, int]:
        """Return length and number of the segments of the next batch."""
        doublings = max(0, int(math.log2(max(1.0, self.length / SHORTEST))))
        halvings = doublings - min(doublings, int((doublings + 1) * self.progress / GROWN))
        length = self.length >> halvings
        return length, max(1, self.size // length)


class ConsecutiveSegments(IterableDataset[Segments]):
    """Segments that follow one another: each row reads on from a random place, past the end from the start.

    With the chance `restart` per batch a row goes to another place and begins anew there: rows that read on and on
    would make batches too alike, and how a text begins is to be learned too.
    """

    def __init__(self, tokens: Tensor, length: int, batch: int, count: int, seed: int, restart: float = 0.0) -> None:
        super().__init__()
        self.tokens, self.length, self.batch, self.count, self.restart = tokens, length, batch, count, restart
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Segments]:
        size, within = len(self.tokens), torch.arange(self.length + 1)
        starts = torch.zeros(self.batch, dtype=torch.long)
        for number in range(self.count):
            fresh = torch.rand(self.batch, generator=self.generator) < (self.restart if number else 1)
            others = torch.randint(size, (self.batch,), generator=self.generator)
            starts = torch.where(fresh, others, starts + self.length)
            yield Segments(self.tokens[(starts.unsqueeze(1) + within) % size], fresh)


class EvenSegments(IterableDataset[Segments]):
    """A text once, for validation: segments in order, each on its own, or in rows that read on.

    What is left over at the end, shorter than a segment (a batch of rows), is left out.
    """

    def __init__(self, tokens: Tensor, length: int, batch: int, carry: bool) -> None:
        super().__init__()
        rows = (len(tokens) - 1) // length
        self.carry = carry
        batch = min(batch, rows)
        steps = rows // batch
        within = torch.arange(length + 1)
        order = torch.arange(batch * steps).reshape(batch, steps).mT if carry else torch.arange(rows)
        self.batches = [tokens[r.unsqueeze(1) * length + within] for r in (order if carry else order.split(batch))]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Segments]:
        for number, tokens in enumerate(self.batches):
            yield Segments(tokens, torch.full((len(tokens),), not self.carry or number == 0))


def loader(segments: IterableDataset[Segments]) -> DataLoader[Segments]:
    """Return batches as `titans_seq.training.train` takes them."""
    return DataLoader(segments, batch_size=None)


def training_segments(
    training: Tensor, validation: Tensor, length: int, batch: int, steps: int, seed: int, carry: bool
) -> tuple[DataLoader[Segments], DataLoader[Segments]]:
    """Return the batches of a pass over a text, and those that validate.

    Args:
        training: tokens (N,).
        validation: tokens, likewise.
        length: of the longest segments.
        batch: segments of a step while they are `SHORTEST`; longer ones are fewer.
        steps: of a pass.
        seed: of the places.
        carry: whether segments follow one another, the memory carried across.
    """
    size = batch * min(length, SHORTEST)
    rows = max(1, size // length)
    segments: IterableDataset[Segments] = (
        ConsecutiveSegments(training, length, rows, steps, seed, RESTART)
        if carry
        else GrowingSegments(training, length, size, steps, seed)
    )
    return loader(segments), loader(EvenSegments(validation, length, 4 * rows, carry))


class NextTokenLoss:
    """Mean cross entropy of the next token, nats, for `titans_seq.training.train`.

    The memory goes on from batch to batch in rows that are not fresh, cut from the graph: truncated backpropagation
    through time. Training and validation have a memory each.
    """

    def __init__(self) -> None:
        self.states: dict[bool, BackboneState | None] = {}

    def __call__(self, network: nn.Module, batch: Segments) -> Tensor:
        assert isinstance(network, LanguageNetwork)
        state = network.renewed(self.states.get(network.training), batch.fresh)
        logits, state = network(batch.tokens[:, :-1].clamp_min(0), state)
        self.states[network.training] = state.detach()
        return next_token_loss(logits, batch.tokens[:, 1:]).sum() / batch.weight


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return cross entropy (B, T), nats, of logits (B, T, V) and targets (B, T); 0 where a target is IGNORED."""
    flat = targets.flatten().long()
    return F.cross_entropy(logits.flatten(0, 1), flat, reduction="none", ignore_index=IGNORED).view_as(targets)
