"""Stretches of a genome as lines of text: BED and bedGraph count from 0, half-open; GFF3 from 1, ends included."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from titans_seq.errors import DataError

TrackFormat = Literal["bed", "bedgraph", "bigwig", "gff3"]

SUFFIXES: dict[str, TrackFormat] = {
    ".bed": "bed",
    ".bedgraph": "bedgraph",
    ".bg": "bedgraph",
    ".bigwig": "bigwig",
    ".bw": "bigwig",
    ".gff3": "gff3",
    ".gff": "gff3",
}
BIGWIG_BLOCK = 4096
"""Stretches that are written to bigWig at once."""
PROFILES = ("bedgraph", "bigwig")
"""Formats that have a value for every letter, not hits."""
_UNESCAPED = ".:^*$@!+_?-|"
"""What a name in a GFF3 file may hold beside letters and digits, unescaped."""


@dataclass(frozen=True)
class Hit:
    """A stretch of a record and its probability."""

    name: str
    """Name of the record."""
    start: int
    """Letters of the record before the stretch."""
    end: int
    """Letters of the record up to the end of the stretch."""
    probability: float
    """Probability of the class."""
    strand: str
    """"+", "-", or "." where the model does not tell them apart."""


def track_format(path: Path) -> TrackFormat:
    """Return the format that the suffix of a file stands for.

    Raises:
        DataError: the suffix stands for none.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: the suffix tells the format, one of {', '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix.lower()]


def format_header(kind: TrackFormat, label: str) -> str:
    """Return the first lines of a file."""
    if kind == "gff3":
        return "##gff-version 3\n"
    if kind == "bedgraph":
        return f'track type=bedGraph name="{_escape(label)}" description="probability of {_escape(label)}"\n'
    return ""


def format_hit(kind: TrackFormat, hit: Hit, label: str, number: int) -> str:
    """Return one line of a file; `number`, the hit's among those of its record, identifies it in GFF3."""
    if kind == "bed":
        score = round(1000 * hit.probability)
        return f"{hit.name}\t{hit.start}\t{hit.end}\t{_escape(label)}\t{score}\t{hit.strand}\n"
    if kind == "bedgraph":
        return f"{hit.name}\t{hit.start}\t{hit.end}\t{hit.probability:.4f}\n"
    name, place = quote(hit.name, safe=_UNESCAPED), f"{hit.start + 1}\t{hit.end}"
    attributes = f"ID={name}.{number};Name={quote(label, safe=_UNESCAPED)}"
    return f"{name}\ttitans-seq\tsequence_feature\t{place}\t{hit.probability:.4f}\t{hit.strand}\t.\t{attributes}\n"


def _escape(label: str) -> str:
    """Return a label without what would break a line of columns or a quoted name."""
    return "_".join(label.replace('"', "'").split()) or "_"


@contextmanager
def open_track(
    kind: TrackFormat, path: Path, label: str, lengths: Mapping[str, int], has_header: bool = True
) -> Iterator[Callable[[Hit], None]]:
    """Open a file of a format; yield what writes a hit to it.

    Args:
        lengths: letters of each record, in the order in which they come.
        has_header: write the lines before the first hit.

    Raises:
        DataError: bigWig is asked for, and pyBigWig is not here.
    """
    if kind == "bigwig":
        with _open_bigwig(path, lengths) as write:
            yield write
        return
    with path.open("w", encoding="utf-8") as file:
        if has_header:
            file.write(format_header(kind, label))
        record, number = "", 0

        def write_line(hit: Hit) -> None:
            nonlocal record, number
            record, number = hit.name, number + 1 if hit.name == record else 1
            file.write(format_hit(kind, hit, label, number))

        yield write_line


@contextmanager
def _open_bigwig(path: Path, lengths: Mapping[str, int]) -> Iterator[Callable[[Hit], None]]:
    try:
        import pyBigWig
    except ImportError as error:
        raise DataError("bigWig needs pyBigWig: pip install 'titans-seq[bigwig]'") from error
    file = pyBigWig.open(str(path), "w")
    file.addHeader(list(lengths.items()))
    waiting: list[Hit] = []

    def flush() -> None:
        if waiting:
            file.addEntries(
                [hit.name for hit in waiting],
                [hit.start for hit in waiting],
                ends=[hit.end for hit in waiting],
                values=[hit.probability for hit in waiting],
            )
            waiting.clear()

    def write(hit: Hit) -> None:
        waiting.append(hit)
        if len(waiting) >= BIGWIG_BLOCK:
            flush()

    try:
        yield write
        flush()
    finally:
        file.close()
