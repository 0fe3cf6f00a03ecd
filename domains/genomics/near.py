"""Near duplicates: sequences that share most of their k-mers, found by MinHash without comparing all with all.

Axes: N sequences.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from titans_seq.domains.genomics.alphabet import Rows
from titans_seq.domains.genomics.kmers import number_kmers

KMER_SIZE = 11
"""Letters of the k-mers: a letter that differs costs so many of them at the most."""
SIMILAR = 0.3
"""Jaccard similarity of the sets of canonical k-mers from which on two sequences are near duplicates: 93 of 100 letters
the same, on either strand."""
PERMUTATIONS = 64
"""Hashes of a sketch."""


class NearIndex:
    """Sequences by their sketches, to be asked for near duplicates of others.

    Args:
        rows: codes of each sequence.
    """

    def __init__(self, rows: Rows) -> None:
        from datasketch import MinHashLSH

        self._sets = list(kmer_sets(rows))
        self._sketches = [_sketch(own) for own in self._sets]
        self._index = MinHashLSH(threshold=SIMILAR, num_perm=PERMUTATIONS)
        with self._index.insertion_session() as session:
            for number, sketch in enumerate(self._sketches):
                session.insert(number, sketch)

    def find(self, other: "NearIndex") -> Iterator[list[int]]:
        """Yield, for each sequence of another index, the numbers of its near duplicates here."""
        for own, sketch in zip(other._sets, other._sketches, strict=True):
            near = self._index.query(sketch) if len(own) else []
            yield [number for number in near if _jaccard(own, self._sets[number]) >= SIMILAR]

    def match(self, other: "NearIndex") -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which sequences of another index have a near duplicate here, and which of these have one there."""
        found = list(self.find(other))
        here = np.zeros(len(self._sets), dtype=bool)
        here[[number for numbers in found for number in numbers]] = True
        return np.array([bool(numbers) for numbers in found], dtype=bool), here


def near_groups(rows: Rows) -> NDArray[np.int64]:
    """Return the number of the group of each sequence (N,): near duplicates, and theirs, are of one group."""
    index = NearIndex(rows)
    pairs = [(i, j) for i, found in enumerate(index.find(index)) for j in found]
    first, second = np.array(pairs or [(0, 0)]).T
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(rows), len(rows)))
    groups: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def kmer_sets(rows: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint64]]:
    """Yield the distinct canonical k-mers of each sequence, as numbers."""
    numbers, owners = number_kmers(rows, KMER_SIZE, canonical=True)
    ends = np.searchsorted(owners, np.arange(len(rows) + 1))
    for start, end in pairwise(ends):
        yield np.unique(numbers[start:end]).astype(np.uint64)


def _sketch(own: NDArray[np.uint64]) -> "MinHash":  # type: ignore[name-defined]  # noqa: F821
    from datasketch import MinHash

    sketch = MinHash(num_perm=PERMUTATIONS, hashfunc=int, seed=1)
    if len(own):
        sketch.update_batch(own)
    return sketch


def _jaccard(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / max(1, len(one) + len(other) - both)
