"""Open reading frames, the plainest way to find genes without introns. Axes: L letters."""

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import reverse_complement

STOPS = (48, 50, 56)
"""TAA, TAG and TGA as numbers to the base 4, the first letter counting 16."""
LENGTHS = (150, 300, 450, 600, 900)
"""Shortest open reading frames to choose from, in letters."""


def open_lengths(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return, for each letter (L,), the length of the longest stretch without a stop codon, in any of six frames."""
    lengths = np.zeros(len(codes), dtype=np.int64)
    for strand in (codes, reverse_complement(codes)):
        found = np.zeros(len(codes), dtype=np.int64)
        for frame in range(min(3, len(codes))):
            own = strand[frame : frame + (len(strand) - frame) // 3 * 3].reshape(-1, 3).astype(np.int64)
            is_stop = np.isin(own @ np.array([16, 4, 1]), STOPS) | (own > 3).any(1)
            edges = np.flatnonzero(np.concatenate([[True], is_stop, [True]]))
            sizes = 3 * (np.diff(edges) - 1)
            for edge, size in zip(edges[:-1].tolist(), sizes.tolist(), strict=True):
                if size > 0:
                    start = frame + 3 * edge
                    found[start : start + size] = np.maximum(found[start : start + size], size)
        lengths = np.maximum(lengths, found if strand is codes else found[::-1])
    return lengths
