"""Variants as lines of VCF: read one by one, written back with more in their INFO column."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from titans_seq.domains.genomics.reading import open_text
from titans_seq.errors import DataError

COLUMNS = 8
"""Columns that every line of VCF has."""
BASES = frozenset("ACGTN")
"""Letters of an allele that is spelled out, in upper case."""
INFO = 7


@dataclass(frozen=True)
class Variant:
    """One line of a VCF file."""

    row: int
    """Line of the file, from 1."""
    name: str
    """Name of the contig."""
    position: int
    """Place of the first letter of `ref`, from 1."""
    ref: str
    """Reference allele, in upper case."""
    alts: tuple[str, ...]
    """Alternative alleles, in upper case; <DEL>, * and the like as they are."""
    cells: tuple[str, ...]
    """The columns as they stand in the file."""

    @property
    def start(self) -> int:
        """Letters of the contig before the variant."""
        return self.position - 1

    def describe(self, alt: str) -> str:
        """Return contig, position and alleles in a word."""
        return f"{self.name}:{self.position} {self.ref}>{alt}"

    def with_info(self, values: Mapping[str, str]) -> str:
        """Return the line with further entries in INFO, in the place of those of the same keys."""
        old = [] if self.cells[INFO] == "." else self.cells[INFO].split(";")
        kept = [entry for entry in old if entry.split("=", 1)[0] not in values]
        info = ";".join([*kept, *(f"{key}={value}" for key, value in values.items())])
        return "\t".join([*self.cells[:INFO], info, *self.cells[INFO + 1 :]]) + "\n"


@dataclass(frozen=True)
class VariantFile:
    """A VCF file that is open for reading."""

    path: Path
    header: list[str]
    """Lines up to #CHROM, with their ends."""
    file: IO[str]

    def header_with(self, definitions: Mapping[str, str]) -> str:
        """Return the header with definitions of INFO keys before #CHROM, in the place of earlier ones."""
        kept = [line for line in self.header if not any(line.startswith(f"##INFO=<ID={key},") for key in definitions)]
        lines = [f"##INFO=<ID={key},{rest}>\n" for key, rest in definitions.items()]
        return "".join([*kept[:-1], *lines, kept[-1]])

    def __iter__(self) -> Iterator[Variant]:
        for row, line in enumerate(self.file, len(self.header) + 1):
            if line.strip():
                yield _parse(line.rstrip("\r\n"), f"{self.path}, row {row}", row)


@contextmanager
def open_vcf(path: Path) -> Iterator[VariantFile]:
    """Open a VCF file, plain, gzip or BGZF.

    Raises:
        DataError: the file is missing, damaged, without header, or a line is not VCF; the message names its row.
    """
    with open_text(path) as file:
        header: list[str] = []
        for line in file:
            if not header and not line.startswith("##fileformat=VCF"):
                raise DataError(f"{path} is no VCF: it does not begin with ##fileformat=VCFv4.2 or the like")
            if not line.startswith("#"):
                raise DataError(f"{path}, row {len(header) + 1}: the line #CHROM POS ID ... is missing above it")
            header.append(line.rstrip("\r\n") + "\n")
            if line.startswith("#CHROM"):
                yield VariantFile(path, header, file)
                return
        raise DataError(f"{path} is empty" if not header else f"{path} has no line #CHROM, and no variants")


def _parse(text: str, where: str, row: int) -> Variant:
    cells = tuple(text.split("\t"))
    if len(cells) < COLUMNS:
        raise DataError(f"{where}: VCF has at least 8 columns with tabs between them; this line has {len(cells)}")
    name, position, _, ref, alt, *_ = cells
    if not position.isdecimal() or not 1 <= len(position) < 16:
        raise DataError(f"{where}: POS must be a whole number, not {position!r:.40}")
    if not ref or not BASES.issuperset(ref.upper()):
        raise DataError(f"{where}: REF must be letters of DNA, not {ref!r:.40}")
    alts = tuple(a.upper() if BASES.issuperset(a.upper()) else a for a in alt.split(","))
    return Variant(row, name, int(position), ref.upper(), alts, cells)


def is_spelled(allele: str) -> bool:
    """Return whether an allele is letters of DNA, neither symbolic (<DEL>, *) nor missing nor a breakend."""
    return bool(allele) and BASES.issuperset(allele)


@contextmanager
def open_output(path: Path, is_compressed: bool) -> Iterator[IO[str]]:
    """Open a file for text; compressed as BGZF, which tabix and bcftools read."""
    if not is_compressed:
        with path.open("w", encoding="utf-8") as plain:
            yield plain
        return
    from Bio.bgzf import BgzfWriter

    with BgzfWriter(path) as packed:  # type: ignore[no-untyped-call]
        yield packed
