"""Multi-query associative recall (MQAR): pairs are shown once, then keys are asked for at growing distances.

Source: Arora et al., "Zoology", arXiv 2312.04927, section 3 and appendix; the sampling is that of its published code.

Axes: N examples, T tokens, P pairs.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from titans_seq.domains.language.vocabulary import IGNORED


@dataclass(frozen=True, kw_only=True)
class RecallTask:
    """One recall task.

    Raises:
        ValueError: the pairs and their queries do not fit into the length, or the vocabulary is too small.
    """

    length: int = 64
    """Tokens of an example, even."""

    pairs: int = 4
    """Different keys of an example; each is asked for once."""

    rewrites: int = 0
    """Keys (of `pairs`) that are shown a second time with a new value: only the last value is right."""

    vocabulary: int = 8192
    """Half of it keys (1 to vocabulary / 2 - 1), half values."""

    power: float = 0.01
    """Exponent a of the distances between pairs and queries, p(n) ~ a n^(a - 1)."""

    def __post_init__(self) -> None:
        if not 0 <= self.rewrites <= self.pairs or self.pairs < 1:
            raise ValueError(f"rewrites must be 0 to pairs ({self.pairs}), and pairs at least 1, not {self.rewrites}")
        if self.length % 2 or (self.length - self.shown) // 2 < self.pairs:
            raise ValueError(f"length must be even and at least {self.shown + 2 * self.pairs}, not {self.length}")
        if self.vocabulary % 2 or self.vocabulary // 2 - 1 < self.pairs + self.rewrites:
            raise ValueError(
                f"vocabulary must be even and hold {self.pairs + self.rewrites} values, not {self.vocabulary}"
            )
        if not self.power > 0:
            raise ValueError(f"power must be positive, not {self.power!r}")

    @property
    def shown(self) -> int:
        """Tokens that show the pairs, in front of the queries."""
        return 2 * (self.pairs + self.rewrites)

    def filled(self) -> "RecallTask":
        """Return the task of the same length with as many pairs as it has room for, as many of a pair rewritten."""
        pairs = int(self.length // (4 + 2 * self.rewrites / self.pairs))
        return replace(self, pairs=pairs, rewrites=pairs * self.rewrites // self.pairs)


class Recall(NamedTuple):
    """Examples of a recall task."""

    tokens: Tensor
    """(N, T) int64."""
    labels: Tensor
    """(N, T) int64: at a queried key its value, else IGNORED."""


def recall_examples(task: RecallTask, count: int, seed: int) -> Recall:
    """Return `count` examples; the same for the same seed.

    Keys and values of an example are drawn without repetition. Behind the pairs, slots of two tokens hold the
    queries, at distances from the power law; every other token is random.
    """
    rng = np.random.default_rng(seed)
    half = task.vocabulary // 2
    keys = _distinct(rng, count, task.pairs, half - 1) + 1
    values = _distinct(rng, count, task.pairs + task.rewrites, half) + half
    # rewritten keys come back after all keys have been seen, with the values behind the first ones
    shown_keys = np.concatenate([keys, keys[:, : task.rewrites]], 1)
    answers = np.concatenate([values[:, task.pairs :], values[:, task.rewrites : task.pairs]], 1)
    tokens = rng.integers(task.vocabulary, size=(count, task.length))
    labels = np.full((count, task.length), IGNORED)
    tokens[:, 0 : task.shown : 2] = shown_keys
    tokens[:, 1 : task.shown : 2] = values
    space = (task.length - task.shown) // 2
    weights = task.power * np.arange(1, space + 1) ** (task.power - 1)
    # the P largest of log p + Gumbel noise: P draws without replacement
    noise = np.log(weights) + rng.gumbel(size=(count, space))
    places = task.shown + 2 * np.argsort(-noise, 1)[:, : task.pairs]
    np.put_along_axis(tokens, places, keys, 1)
    np.put_along_axis(labels, places, answers, 1)
    return Recall(torch.from_numpy(tokens), torch.from_numpy(labels))


def _distinct(rng: np.random.Generator, rows: int, count: int, below: int) -> np.ndarray:
    """Draw (rows, count) whole numbers below a limit, without repetition in a row."""
    drawn = rng.integers(below, size=(rows, count))
    while True:
        ordered = np.sort(drawn, 1)
        again = (ordered[:, 1:] == ordered[:, :-1]).any(1)
        if not again.any():
            return drawn
        if count * count > below:  # many collisions: permute instead
            return np.stack([rng.permutation(below)[:count] for _ in range(rows)])
        drawn[again] = rng.integers(below, size=(int(again.sum()), count))
