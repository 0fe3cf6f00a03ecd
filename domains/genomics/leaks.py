"""Sequences known from another split: exact, as the reverse complement, or overlapping.

Axes: N sequences, L letters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import UNKNOWN, reverse_complement
from titans_seq.domains.genomics.fitting import Rows

KMER = 24
"""Letters of the k-mers by which overlap is told: 4 ** 24 of them, so that chance plays no part."""
OVERLAP = 0.5
"""Share of a sequence's k-mers that must stand in another split for it to overlap with that."""


@dataclass(frozen=True)
class LeakReport:
    """What is known from a later, more precious split (train, dev, test); letter case aside."""

    sizes: dict[str, int]
    """Split -> sequences."""
    exact: dict[str, int]
    """"test in train" -> sequences of test that stand in train too, letter by letter."""
    reverse_complement: dict[str, int]
    """The same for those of which only the reverse complement does."""
    overlapping: dict[str, int]
    """The same for other ones of which half or more does, on either strand, as where windows overlap."""
    repeated: dict[str, int]
    """Split -> sequences that stand in it more than once, on either strand, after the first."""
    conflicting: int
    """Distinct sequences, on either strand, that carry more than one class."""
    duplicate: dict[str, NDArray[np.bool_]] = field(repr=False)
    """Split -> (N,) True at sequences that stand in a later split, on either strand."""
    near: dict[str, NDArray[np.bool_]] = field(repr=False)
    """Split -> (N,) True at other sequences that overlap with a later split."""

    def summary(self) -> dict[str, Any]:
        """Return plain values for metrics.json."""
        return {
            "sizes": self.sizes,
            "exact": self.exact,
            "reverse_complement": self.reverse_complement,
            "overlapping": self.overlapping,
            "repeated_within": self.repeated,
            "conflicting_labels": self.conflicting,
        }


def find_leaks(splits: Mapping[str, tuple[Rows, NDArray[Any]]]) -> LeakReport:
    """Compare every split with every later one.

    Args:
        splits: name -> rows and labels, in the order train, dev, test.
    """
    names = list(splits)
    forward = {name: [row.tobytes() for row in rows] for name, (rows, _) in splits.items()}
    either = {
        name: [min(text, reverse_complement(row).tobytes()) for text, row in zip(forward[name], rows, strict=True)]
        for name, (rows, _) in splits.items()
    }
    kmers = {name: [_kmers(row) for row in rows] for name, (rows, _) in splits.items()}
    exact, complement, overlapping = {}, {}, {}
    duplicate = {name: np.zeros(len(forward[name]), dtype=bool) for name in names}
    near = {name: np.zeros(len(forward[name]), dtype=bool) for name in names}
    for i, name in enumerate(names):
        for later in names[i + 1 :]:
            is_same = _is_among(forward[later], forward[name])
            is_alike = _is_among(either[later], either[name])
            is_near = _shares(kmers[later], kmers[name]) >= OVERLAP
            pair = f"{later} in {name}"
            exact[pair] = int(is_same.sum())
            complement[pair] = int((is_alike & ~is_same).sum())
            overlapping[pair] = int((is_near & ~is_alike).sum())
            duplicate[name] |= _is_among(either[name], either[later])
            near[name] |= _shares(kmers[name], kmers[later]) >= OVERLAP
        near[name] &= ~duplicate[name]
    classes: dict[bytes, set[Any]] = {}
    for name, (_, labels) in splits.items():
        for text, label in zip(either[name], labels.tolist(), strict=True):
            classes.setdefault(text, set()).add(label)
    return LeakReport(
        sizes={name: len(forward[name]) for name in names},
        exact=exact,
        reverse_complement=complement,
        overlapping=overlapping,
        repeated={name: len(either[name]) - len(set(either[name])) for name in names},
        conflicting=sum(len(found) > 1 for found in classes.values()),
        duplicate=duplicate,
        near=near,
    )


def _is_among(texts: list[bytes], others: list[bytes]) -> NDArray[np.bool_]:
    known = set(others)
    return np.array([text in known for text in texts], dtype=bool)


def _kmers(row: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return each k-mer of a row as a number, the same for its reverse complement; unknown letters break k-mers."""
    if len(row) < KMER:
        return np.empty(0, dtype=np.int64)
    powers = 4 ** np.arange(KMER)
    view = np.lib.stride_tricks.sliding_window_view
    known = ~view(row >= UNKNOWN, KMER).any(1)
    here, there = view(row, KMER) @ powers, view(reverse_complement(row), KMER)[::-1] @ powers
    kmers: NDArray[np.int64] = np.minimum(here, there)[known]
    return kmers


def _shares(kmers: list[NDArray[np.int64]], others: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return the share of each sequence's k-mers that stand among the others."""
    counts = np.array([len(w) for w in kmers])
    if counts.sum() == 0 or not others:
        return np.zeros(len(kmers))
    hits = np.isin(np.concatenate(kmers), np.concatenate(others))
    owner = np.repeat(np.arange(len(kmers)), counts)
    shares: NDArray[np.float64] = np.bincount(owner[hits], minlength=len(kmers)) / np.maximum(counts, 1)
    return shares
