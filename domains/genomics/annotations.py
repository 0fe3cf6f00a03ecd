"""Contigs with their features, from GenBank or from GFF3 beside a genome.

Axes: L letters of a contig.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import encode
from titans_seq.domains.genomics.genome import Genome
from titans_seq.domains.genomics.reading import open_text
from titans_seq.errors import DataError

GFF3_COLUMNS = 9


@dataclass(frozen=True)
class Feature:
    """A part of a feature that has no gap: an exon of a CDS is one."""

    kind: str
    """Type of the feature, such as CDS."""
    start: int
    """Letters of the contig before it."""
    end: int
    """Letters of the contig up to its end."""
    strand: str
    """"+", "-" or "."."""
    phase: int = 0
    """Letters at its 5' end that belong to the codon before."""


@dataclass(frozen=True)
class AnnotatedContig:
    """A contig, its features, and a way to its letters."""

    name: str
    length: int
    features: list[Feature] = field(repr=False)
    fetch: Callable[[int, int], NDArray[np.uint8]] = field(repr=False)
    """Codes of the letters from start to before end."""

    def is_inside(self, kind: str) -> NDArray[np.bool_]:
        """Return where features of a kind lie, on either strand (L,)."""
        inside = np.zeros(self.length, dtype=bool)
        for feature in self.features:
            if feature.kind == kind:
                inside[feature.start : feature.end] = True
        return inside

    def frames(self, kind: str) -> NDArray[np.int8]:
        """Return the place of each letter in its codon (L,): 1 to 3 on this strand, -1 to -3 on the other, else 0.

        Where features overlap, the longer one counts.
        """
        frames = np.zeros(self.length, dtype=np.int8)
        for feature in sorted(self.features, key=lambda f: f.end - f.start):
            if feature.kind != kind:
                continue
            place = (np.arange(feature.end - feature.start) - feature.phase) % 3 + 1
            frames[feature.start : feature.end] = -place[::-1] if feature.strand == "-" else place
        return frames


def read_genbank(path: Path) -> Iterator[AnnotatedContig]:
    """Yield the records of a GenBank file, plain or gzip.

    Raises:
        DataError: the file is missing or damaged, or a record has no letters.
    """
    from Bio import BiopythonWarning, SeqIO

    with open_text(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", BiopythonWarning)
        for record in SeqIO.parse(file, "genbank"):  # type: ignore[no-untyped-call]
            codes = encode(bytes(record.seq), f"{path}: record {record.id!r}")
            parts = [part for item in record.features for part in _parts(item, len(codes))]
            yield AnnotatedContig(record.id, len(codes), parts, partial(_slice, codes))


def _slice(codes: NDArray[np.uint8], start: int, end: int) -> NDArray[np.uint8]:
    return codes[start:end]


def _parts(item: Any, length: int) -> Iterator[Feature]:
    """Yield the parts of one of Biopython's features, in the order in which they are read."""
    if item.location is None:
        return
    start = item.qualifiers.get("codon_start", ["1"])[0]
    read = 1 - int(start) if start in ("1", "2", "3") else 0
    for part in item.location.parts:
        first, last = max(int(part.start), 0), min(int(part.end), length)
        if first < last:
            yield Feature(item.type, first, last, {1: "+", -1: "-"}.get(part.strand, "."), -read % 3)
        read += last - first


def read_gff3(path: Path, genome: Genome) -> Iterator[AnnotatedContig]:
    """Yield the contigs of a genome that a GFF3 file, plain or gzip, has features of.

    Raises:
        DataError: a line is not GFF3, a contig is unknown, or a feature lies outside it; the message names the row.
    """
    features: dict[str, list[Feature]] = defaultdict(list)
    with open_text(path) as file:
        for row, line in enumerate(file, 1):
            if line.startswith(("##FASTA", ">")):
                break
            if line.strip() and not line.startswith("#"):
                name, feature = _parse(line.rstrip("\r\n"), f"{path}, row {row}")
                features[name].append(feature)
                if genome.find(name) is not None and feature.end > genome.length(name):
                    raise DataError(
                        f"{path}, row {row}: {name}:{feature.start + 1}-{feature.end} lies outside the contig, which "
                        f"has {genome.length(name):,} letters"
                    )
    if not features:
        raise DataError(f"{path} has no features")
    genome.check_names(features, path)
    for name, found in features.items():
        yield AnnotatedContig(name, genome.length(name), found, partial(genome.fetch, name))


def _parse(text: str, where: str) -> tuple[str, Feature]:
    cells = text.split("\t")
    if len(cells) != GFF3_COLUMNS:
        raise DataError(f"{where}: GFF3 has 9 columns with tabs between them; this line has {len(cells)}")
    name, _, kind, first, last, _, strand, phase, _ = cells
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first[:16]) <= int(last[:16])):
        raise DataError(f"{where}: start and end must be whole numbers from 1, not {first!r:.40} and {last!r:.40}")
    own = int(phase) if phase in ("0", "1", "2") else 0
    return unquote(name), Feature(kind, int(first) - 1, int(last), strand if strand in ("+", "-") else ".", own)
