"""Which token comes next: temperature, the likeliest ones, repetitions.

Axes: T tokens, V vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.errors import DataError
from titans_seq.validation import check_answer, check_whole


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to choose.

    Raises:
        DataError: a setting is out of range.
    """

    temperature: float = 0.8
    """Logits are divided by it; 0 takes the likeliest token."""

    top_k: int | None = None
    """Only that many of the likeliest tokens; None: all."""

    top_p: float | None = None
    """Only the likeliest tokens that together reach this probability (arXiv 1904.09751); None: all."""

    min_p: float | None = None
    """Only tokens at least this share as likely as the likeliest (arXiv 2407.01082); None: all."""

    repetition_penalty: float = 1.0
    """Logits of tokens that stand in the prompt or were drawn are divided by it, negative ones multiplied
    (arXiv 1909.05858); 1 changes nothing. Bytes repeat in any text: it is made for byte pairs."""

    seed: int = 0
    """Of the draws; each row of a batch draws as it would alone."""

    def __post_init__(self) -> None:
        if not _number(self.temperature) or not 0 <= self.temperature < math.inf:
            raise DataError(f"temperature must be at least 0, not {self.temperature!r}")
        if self.top_k is not None:
            check_whole(1, top_k=self.top_k)
        if self.top_p is not None and (not _number(self.top_p) or not 0 < self.top_p <= 1):
            raise DataError(f"top_p must be above 0 and at most 1, not {self.top_p!r}")
        if self.min_p is not None and (not _number(self.min_p) or not 0 <= self.min_p <= 1):
            raise DataError(f"min_p must be at least 0 and at most 1, not {self.min_p!r}")
        if not _number(self.repetition_penalty) or not 0 < self.repetition_penalty < math.inf:
            raise DataError(f"repetition_penalty must be positive, not {self.repetition_penalty!r}")
        check_whole(0, seed=self.seed)


class Sampler:
    """Draws tokens; the same ones for the same seed and logits.

    Args:
        sampling: how.
        seen: tokens (T,) that count as repeated when they are drawn.
    """

    def __init__(self, sampling: Sampling, seen: Tensor | None = None) -> None:
        self.sampling = sampling
        self.generator = torch.Generator().manual_seed(int(sampling.seed))
        self.seen = set[int]() if seen is None else {*seen.unique().tolist()}

    def __call__(self, logits: Tensor) -> int:
        """Return a token of logits (V,); raise NonFiniteError if they are none."""
        check_answer(logits, "the logits")
        if self.sampling.repetition_penalty != 1:
            logits = self._penalized(logits)
        if self.sampling.temperature == 0:
            token = int(logits.argmax())
        else:
            token = int(torch.multinomial(probabilities(logits, self.sampling), 1, generator=self.generator))
        self.seen.add(token)
        return token

    def _penalized(self, logits: Tensor) -> Tensor:
        seen, penalty = torch.tensor(sorted(self.seen), dtype=torch.long), self.sampling.repetition_penalty
        chosen = logits[seen]
        return logits.index_put((seen,), torch.where(chosen > 0, chosen / penalty, chosen * penalty))


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return what tokens are drawn from, (V,) float64: zero for those that `top_k`, `top_p` or `min_p` leaves out."""
    ordered, order = (logits.double() / max(sampling.temperature, 1e-6)).sort(descending=True, stable=True)
    chances = ordered.softmax(0)
    if sampling.top_k is not None:
        chances[sampling.top_k :] = 0
    if sampling.top_p is not None:
        chances = chances / chances.sum()
        chances[chances.cumsum(0) - chances >= sampling.top_p] = 0
    if sampling.min_p is not None:
        chances[chances < sampling.min_p * chances[0]] = 0
    return torch.zeros_like(chances).scatter(0, order, chances / chances.sum())


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
