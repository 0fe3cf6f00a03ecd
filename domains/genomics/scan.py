"""A classifier's probabilities along a genome. Axes: W windows, K classes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import UNKNOWN, reverse_complement
from titans_seq.domains.genomics.classifier import TitansDNAClassifier
from titans_seq.domains.genomics.stream import RecordWindows, cut_windows, read_stretches
from titans_seq.domains.genomics.tracks import Hit

MAX_UNKNOWN = 0.5
"""Share of unknown letters above which a window is not scored."""


@dataclass(frozen=True)
class WindowScores:
    """Probabilities of one class in windows of one record."""

    name: str
    """Name of the record."""
    starts: NDArray[np.int64]
    """Letters of the record before each window (W,)."""
    size: int
    """Letters of each window."""
    forward: NDArray[np.float64]
    """Probability on the strand of the file (W,); NaN where too many letters are unknown."""
    reverse: NDArray[np.float64] | None
    """Probability on the other strand (W,); None if the model does not tell them apart."""


def scan(
    model: TitansDNAClassifier,
    genome: Path,
    window: int,
    stride: int,
    label: int,
    on_bytes: Callable[[int], object] | None = None,
) -> Iterator[WindowScores]:
    """Score windows of every record of a FASTA file on both strands, in the order of the file, in constant memory.

    Args:
        window: letters of a window; a shorter record is one window.
        stride: letters from one window to the next, at most `window`; the last window ends where the record ends.
        label: number of the class.
        on_bytes: see `read_stretches`.

    Raises:
        DataError: the file cannot be read as FASTA.
    """
    for windows in cut_windows(read_stretches(genome, on_bytes), window, stride):
        yield score_windows(model, label, windows)


def score_windows(model: TitansDNAClassifier, label: int, windows: RecordWindows) -> WindowScores:
    """Return the probabilities of a class in some windows, on both strands."""
    is_scored = (windows.codes == UNKNOWN).mean(1) <= MAX_UNKNOWN
    strands = [windows.codes] if model.reading_.strand == "both" else [windows.codes, reverse_complement(windows.codes)]
    scores = [np.full(len(is_scored), np.nan) for _ in strands]
    if is_scored.any():
        for values, codes in zip(scores, strands, strict=True):
            values[is_scored] = model.predict_proba(np.ascontiguousarray(codes[is_scored]))[:, label]
    reverse = scores[1] if len(scores) > 1 else None
    return WindowScores(windows.name, windows.starts, windows.codes.shape[1], scores[0], reverse)


def pack_scores(scores: WindowScores) -> bytes:
    """Return the probabilities of some windows as bytes; see `unpack_scores`."""
    strands = [scores.forward] if scores.reverse is None else [scores.forward, scores.reverse]
    return np.stack(strands).tobytes()


def unpack_scores(payload: bytes, windows: RecordWindows) -> WindowScores:
    """Return the scores of windows that `pack_scores` made into bytes."""
    values = np.frombuffer(payload).reshape(-1, len(windows.starts))
    reverse = values[1] if len(values) > 1 else None
    return WindowScores(windows.name, windows.starts, windows.codes.shape[1], values[0], reverse)


def find_hits(scores: Iterable[WindowScores], threshold: float) -> Iterator[Hit]:
    """Yield the windows whose probability is at least `threshold`, each strand for itself."""
    for part in scores:
        strands = {".": part.forward} if part.reverse is None else {"+": part.forward, "-": part.reverse}
        for i, start in enumerate(part.starts.tolist()):
            for strand, values in strands.items():
                if values[i] >= threshold:
                    yield Hit(part.name, start, start + part.size, float(values[i]), strand)


def merge_hits(hits: Iterable[Hit]) -> Iterator[Hit]:
    """Yield hits of which those that touch or overlap on one strand are one, with the highest probability.

    Args:
        hits: in the order of their records, and within them of their starts.
    """
    name, growing, done = "", dict[str, Hit](), list[Hit]()
    for hit in hits:
        if hit.name != name:
            yield from sorted([*done, *growing.values()], key=_place)
            name, growing, done = hit.name, {}, []
        own = growing.get(hit.strand)
        if own is not None and hit.start <= own.end:
            probability = max(own.probability, hit.probability)
            growing[hit.strand] = Hit(name, own.start, max(own.end, hit.end), probability, hit.strand)
            continue
        if own is not None:
            done.append(own)
        growing[hit.strand] = hit
        first = min(map(_place, growing.values()))
        yield from sorted((h for h in done if _place(h) < first), key=_place)
        done = [h for h in done if _place(h) > first]
    yield from sorted([*done, *growing.values()], key=_place)


def _place(hit: Hit) -> tuple[int, str]:
    return hit.start, hit.strand


def tile_records(scores: Iterable[WindowScores]) -> Iterator[Hit]:
    """Yield stretches that cover every record without overlap: each letter takes the window whose middle is nearest.

    Of two strands the higher probability counts; where too many letters are unknown there is a gap.
    """
    before: Hit | None = None
    edge = 0
    for part in scores:
        higher = part.forward if part.reverse is None else np.fmax(part.forward, part.reverse)
        for start, value in zip(part.starts.tolist(), higher.tolist(), strict=True):
            now = Hit(part.name, start, start + part.size, value, ".")
            if before is not None and before.name == now.name and now.start > 0:
                middle = (before.start + before.end + now.start + now.end) // 4
                yield from _clip(before, edge, middle)
                edge = middle
            else:
                if before is not None:
                    yield from _clip(before, edge, before.end)
                edge = 0
            before = now
    if before is not None:
        yield from _clip(before, edge, before.end)


def _clip(hit: Hit, start: int, end: int) -> Iterator[Hit]:
    """Yield a part of a stretch; nothing if it is empty, or was not scored."""
    if hit.probability == hit.probability and end > start:
        yield Hit(hit.name, start, end, hit.probability, hit.strand)
