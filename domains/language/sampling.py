"""Which token comes next: temperature, the k likeliest, the nucleus.

Axes: V vocabulary.
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

    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        if not _number(self.temperature) or not 0 <= self.temperature < math.inf:
            raise DataError(f"temperature must be at least 0, not {self.temperature!r}")
        if self.top_k is not None:
            check_whole(1, top_k=self.top_k)
        if self.top_p is not None and (not _number(self.top_p) or not 0 < self.top_p <= 1):
            raise DataError(f"top_p must be above 0 and at most 1, not {self.top_p!r}")
        check_whole(0, seed=self.seed)


class Sampler:
    """Draws tokens; the same ones for the same seed and logits."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.generator = torch.Generator().manual_seed(int(sampling.seed))

    def __call__(self, logits: Tensor) -> int:
        """Return a token of logits (V,); raise NonFiniteError if they are none."""
        check_answer(logits, "the logits")
        if self.sampling.temperature == 0:
            return int(logits.argmax())
        return int(torch.multinomial(probabilities(logits, self.sampling), 1, generator=self.generator))


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return what tokens are drawn from, (V,) float64: zero for those that `top_k` or `top_p` leaves out."""
    ordered, order = (logits.double() / max(sampling.temperature, 1e-6)).sort(descending=True, stable=True)
    chances = ordered.softmax(0)
    if sampling.top_k is not None:
        chances[sampling.top_k :] = 0
    if sampling.top_p is not None:
        chances = chances / chances.sum()
        chances[chances.cumsum(0) - chances >= sampling.top_p] = 0
    return torch.zeros_like(chances).scatter(0, order, chances / chances.sum())


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
