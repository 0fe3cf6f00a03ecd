"""Scored stretches of a genome as text: BED and bedGraph count from 0, half-open; GFF3 from 1, ends included."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from titans_seq.errors import DataError

SUFFIXES = {".bed": "bed", ".bedgraph": "bedgraph", ".bg": "bedgraph", ".gff3": "gff3", ".gff": "gff3"}
_PLAIN = ".:^*$@!+_?-|"
"""What a name in a GFF3 file may hold beside letters and digits, unescaped."""


@dataclass(frozen=True)
class Hit:
    """A stretch of a record and its probability."""

    name: str
    """Of the record."""
    start: int
    """Letters before it."""
    end: int
    """Letters up to its end."""
    probability: float
    strand: str
    """"+", "-", or "." where the model does not tell them apart."""


def kind_of_track(path: Path) -> str:
    """ "bed", "bedgraph" or "gff3", by the file's suffix.

    Raises:
        DataError: the suffix is none of theirs.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: the suffix tells the format, one of {', '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix.lower()]


def header(kind: str, label: str) -> str:
    """First lines of a file."""
    if kind == "gff3":
        return "##gff-version 3\n"
    if kind == "bedgraph":
        return f'track type=bedGraph name="{_word(label)}" description="probability of {_word(label)}"\n'
    return ""


def line(kind: str, hit: Hit, label: str, number: int) -> str:
    """One line of a file; `number` tells hits apart in GFF3."""
    if kind == "bed":
        score = round(1000 * hit.probability)
        return f"{hit.name}\t{hit.start}\t{hit.end}\t{_word(label)}\t{score}\t{hit.strand}\n"
    if kind == "bedgraph":
        return f"{hit.name}\t{hit.start}\t{hit.end}\t{hit.probability:.4f}\n"
    attributes = f"ID=hit{number};Name={quote(label, safe=_PLAIN)}"
    name, place = quote(hit.name, safe=_PLAIN), f"{hit.start + 1}\t{hit.end}"
    return f"{name}\ttitans-seq\tsequence_feature\t{place}\t{hit.probability:.4f}\t{hit.strand}\t.\t{attributes}\n"


def _word(label: str) -> str:
    """A label without what would break a line of columns or a quoted name."""
    return "_".join(label.replace('"', "'").split()) or "_"
