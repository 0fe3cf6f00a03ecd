"""k-mers of sequences as numbers, and their counts. Axes: N sequences, M k-mers of all of them, V distinct k-mers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from titans_seq.domains.genomics.alphabet import UNKNOWN


def number_kmers(
    rows: Sequence[NDArray[np.uint8]], size: int, canonical: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every k-mer as a number to the base 4, its first letter counting 1; none spans an unknown letter.

    Args:
        rows: codes of each sequence, unpadded.
        size: letters of a k-mer, at most 31.
        canonical: give a k-mer and its reverse complement the same number, the lower of both.

    Returns:
        Numbers (M,), and the index of the sequence that each k-mer stands in (M,), rising.
    """
    lengths = np.array([len(row) + 1 for row in rows])
    codes = np.full(lengths.sum(), UNKNOWN, dtype=np.uint8)  # an unknown letter stands between two sequences
    for row, end in zip(rows, lengths.cumsum(), strict=True):
        codes[end - 1 - len(row) : end - 1] = row
    count = max(0, len(codes) - size + 1)
    unknown = np.concatenate([[0], (codes >= UNKNOWN).cumsum()])
    is_known = unknown[size:][:count] == unknown[:count]
    numbers = _polynomial(codes, range(size), count)[is_known]
    if canonical:
        numbers = np.minimum(numbers, _polynomial(3 - codes, range(size - 1, -1, -1), count)[is_known])
    return numbers, np.repeat(np.arange(len(rows)), lengths)[:count][is_known]


def _polynomial(codes: NDArray[np.uint8], exponents: Sequence[int], count: int) -> NDArray[np.int64]:
    """Return the sum over i of codes[place + i] * 4 ** exponents[i] at the first `count` places."""
    total = np.zeros(count, dtype=np.int64)
    for i, exponent in enumerate(exponents):
        term = codes[i : i + count].astype(np.int64)
        term <<= 2 * exponent
        total += term
    return total


def count_kmers(rows: Sequence[NDArray[np.uint8]], size: int) -> sparse.csr_matrix:
    """Return how often each k-mer stands in each sequence (N, V); those with an unknown letter do not count."""
    numbers, owners = number_kmers(rows, size)
    ends = np.concatenate([[0], np.bincount(owners, minlength=len(rows)).cumsum()])
    table = sparse.csr_matrix((np.ones(len(numbers)), numbers, ends), shape=(len(rows), 4**size))
    table.sum_duplicates()
    return table


def shorten_kmers(counts: sparse.csr_matrix, size: int) -> sparse.csr_matrix:
    """Return the counts (N, 4 ** size) of the first letters of k-mers that were counted (N, V)."""
    width = counts.shape[1]
    first = sparse.csr_matrix((np.ones(width), (np.arange(width), np.arange(width) % 4**size)))
    return counts @ first
