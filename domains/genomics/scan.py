"""A classifier's probabilities along a genome. Axes: W windows, K classes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import UNKNOWN, reverse_complement
from titans_seq.domains.genomics.classifier import TitansDNAClassifier
from titans_seq.domains.genomics.stream import read_stretches, windows_of
from titans_seq.domains.genomics.tracks import Hit

MOST_UNKNOWN = 0.5
"""Share of unknown letters above which a window is not scored."""


@dataclass(frozen=True)
class Scored:
    """Windows of one record with probabilities of one class."""

    name: str
    """Of the record."""
    starts: NDArray[np.int64]
    """Letters of the record before each window (W,)."""
    size: int
    """Letters of each window."""
    forward: NDArray[np.float64]
    """On the strand of the file (W,); NaN where too many letters are unknown."""
    reverse: NDArray[np.float64] | None
    """On the other strand (W,); None if the model does not tell them apart."""


def scan(
    model: TitansDNAClassifier,
    genome: Path,
    window: int,
    stride: int,
    label: int,
    on_bytes: Callable[[int], object] | None = None,
) -> Iterator[Scored]:
    """Score windows of every record of a FASTA file on both strands, in the order of the file, in constant memory.

    Args:
        window: letters of a window; a shorter record is one window.
        stride: letters from one window to the next, at most `window`; the last window ends where the record ends.
        label: number of the class.
        on_bytes: see `read_stretches`.

    Raises:
        DataError: the file cannot be read as FASTA.
    """
    for part in windows_of(read_stretches(genome, on_bytes), window, stride):
        known = (part.codes == UNKNOWN).mean(1) <= MOST_UNKNOWN
        strands = [part.codes] if model.strand == "both" else [part.codes, reverse_complement(part.codes)]
        found = [np.full(len(known), np.nan) for _ in strands]
        if known.any():
            for values, codes in zip(found, strands, strict=True):
                values[known] = model.predict_proba(np.ascontiguousarray(codes[known]))[:, label]
        yield Scored(part.name, part.starts, part.codes.shape[1], found[0], found[1] if len(found) > 1 else None)


def hits(scored: Iterable[Scored], threshold: float) -> Iterator[Hit]:
    """The windows whose probability is at least `threshold`, each strand for itself."""
    for part in scored:
        strands = {".": part.forward} if part.reverse is None else {"+": part.forward, "-": part.reverse}
        for i, start in enumerate(part.starts.tolist()):
            for strand, values in strands.items():
                if values[i] >= threshold:
                    yield Hit(part.name, start, start + part.size, float(values[i]), strand)


def profile(scored: Iterable[Scored]) -> Iterator[Hit]:
    """The whole of every record without overlap: each letter belongs to the window whose middle is nearest.

    Of two strands the higher probability counts; where too many letters are unknown there is a gap.
    """
    before: Hit | None = None
    edge = 0
    for part in scored:
        higher = part.forward if part.reverse is None else np.fmax(part.forward, part.reverse)
        for start, value in zip(part.starts.tolist(), higher.tolist(), strict=True):
            now = Hit(part.name, start, start + part.size, value, ".")
            if before is not None and before.name == now.name and now.start > 0:
                middle = (before.start + before.end + now.start + now.end) // 4
                yield from _known(before, edge, middle)
                edge = middle
            else:
                if before is not None:
                    yield from _known(before, edge, before.end)
                edge = 0
            before = now
    if before is not None:
        yield from _known(before, edge, before.end)


def _known(hit: Hit, start: int, end: int) -> Iterator[Hit]:
    if hit.probability == hit.probability and end > start:
        yield Hit(hit.name, start, end, hit.probability, hit.strand)
