"""Sequences known from another split: exact, as the reverse complement, overlapping, or nearly the same.

Axes: N sequences, M k-mers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import Rows, reverse_complement
from titans_seq.domains.genomics.kmers import number_kmers
from titans_seq.domains.genomics.near import NearIndex

KMER_SIZE = 24
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
    near: dict[str, int]
    """The same for other ones that share most of their k-mers with one, as where letters were changed."""
    repeated: dict[str, int]
    """Split -> sequences that stand in it more than once, on either strand, after the first."""
    conflicting: int
    """Distinct sequences, on either strand, that carry more than one class."""
    is_duplicate: dict[str, NDArray[np.bool_]] = field(repr=False)
    """Split -> (N,) True at sequences that stand in a later split, on either strand."""
    is_overlapping: dict[str, NDArray[np.bool_]] = field(repr=False)
    """Split -> (N,) True at other sequences that overlap with a later split, or are nearly the same as one of it."""

    def summary(self) -> dict[str, Any]:
        """Return plain values for metrics.json."""
        return {
            "sizes": self.sizes,
            "exact": self.exact,
            "reverse_complement": self.reverse_complement,
            "overlapping": self.overlapping,
            "near": self.near,
            "repeated_within": self.repeated,
            "conflicting_labels": self.conflicting,
        }


class KmerSet:
    """The k-mers of a split, on either strand, and which sequence has which."""

    def __init__(self, rows: Rows) -> None:
        numbers, self.owners = number_kmers(rows, KMER_SIZE, canonical=True)
        self.distinct, self.index = np.unique(numbers, return_inverse=True)
        self.counts = np.bincount(self.owners, minlength=len(rows))

    def shares_in(self, other: "KmerSet") -> NDArray[np.float64]:
        """Return the share of each sequence's k-mers that stand in another split too (N,)."""
        is_shared = np.isin(self.distinct, other.distinct, assume_unique=True)[self.index]
        hits = np.bincount(self.owners[is_shared], minlength=len(self.counts))
        shares: NDArray[np.float64] = hits / np.maximum(self.counts, 1)
        return shares


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
    kmers = {name: KmerSet(rows) for name, (rows, _) in splits.items()}
    near = {name: NearIndex(rows) for name, (rows, _) in splits.items()}
    exact, complement, overlapping, alike = {}, {}, {}, {}
    is_duplicate = {name: np.zeros(len(forward[name]), dtype=bool) for name in names}
    is_overlapping = {name: np.zeros(len(forward[name]), dtype=bool) for name in names}
    for i, name in enumerate(names):
        for later in names[i + 1 :]:
            is_same = _is_among(forward[later], forward[name])
            is_alike = _is_among(either[later], either[name])
            is_over = kmers[later].shares_in(kmers[name]) >= OVERLAP
            is_near, has_near = near[name].match(near[later])
            pair = f"{later} in {name}"
            exact[pair] = int(is_same.sum())
            complement[pair] = int((is_alike & ~is_same).sum())
            overlapping[pair] = int((is_over & ~is_alike).sum())
            alike[pair] = int((is_near & ~is_over & ~is_alike).sum())
            is_duplicate[name] |= _is_among(either[name], either[later])
            is_overlapping[name] |= kmers[name].shares_in(kmers[later]) >= OVERLAP
            is_overlapping[name] |= has_near
        is_overlapping[name] &= ~is_duplicate[name]
    classes: dict[bytes, set[Any]] = {}
    for name, (_, labels) in splits.items():
        for text, label in zip(either[name], labels.tolist(), strict=True):
            classes.setdefault(text, set()).add(label)
    return LeakReport(
        sizes={name: len(forward[name]) for name in names},
        exact=exact,
        reverse_complement=complement,
        overlapping=overlapping,
        near=alike,
        repeated={name: len(either[name]) - len(set(either[name])) for name in names},
        conflicting=sum(len(found) > 1 for found in classes.values()),
        is_duplicate=is_duplicate,
        is_overlapping=is_overlapping,
    )


def _is_among(texts: list[bytes], others: list[bytes]) -> NDArray[np.bool_]:
    known = set(others)
    return np.array([text in known for text in texts], dtype=bool)
