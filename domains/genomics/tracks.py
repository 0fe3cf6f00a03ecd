"""Stretches of a genome as lines of text: BED and bedGraph count from 0, half-open; GFF3 from 1, ends included."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from titans_seq.errors import DataError

TrackFormat = Literal["bed", "bedgraph", "gff3"]

SUFFIXES: dict[str, TrackFormat] = {
    ".bed": "bed",
    ".bedgraph": "bedgraph",
    ".bg": "bedgraph",
    ".gff3": "gff3",
    ".gff": "gff3",
}
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
    """Return one line of a file; `number` identifies the hit in GFF3."""
    if kind == "bed":
        score = round(1000 * hit.probability)
        return f"{hit.name}\t{hit.start}\t{hit.end}\t{_escape(label)}\t{score}\t{hit.strand}\n"
    if kind == "bedgraph":
        return f"{hit.name}\t{hit.start}\t{hit.end}\t{hit.probability:.4f}\n"
    attributes = f"ID=hit{number};Name={quote(label, safe=_UNESCAPED)}"
    name, place = quote(hit.name, safe=_UNESCAPED), f"{hit.start + 1}\t{hit.end}"
    return f"{name}\ttitans-seq\tsequence_feature\t{place}\t{hit.probability:.4f}\t{hit.strand}\t.\t{attributes}\n"


def _escape(label: str) -> str:
    """Return a label without what would break a line of columns or a quoted name."""
    return "_".join(label.replace('"', "'").split()) or "_"
