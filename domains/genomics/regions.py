"""Regions of a genome from BED files, and negatives drawn to match them. Axes: N regions, C candidates."""

import warnings
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import UNKNOWN, reverse_complement
from titans_seq.domains.genomics.genome import Genome
from titans_seq.domains.genomics.reading import open_text
from titans_seq.errors import DataError, TitansSeqWarning

CANDIDATES = 50
"""Places that are looked at for one negative at the most."""
CLOSE = 0.01
"""Difference of the shares of G and C that ends the search for a negative."""
MAX_UNKNOWN = 0.1
"""Share of unknown letters that a negative has at the most."""
ONE_BASED_SHARE, ONE_BASED_ROWS = 0.9, 20
"""Share of the regions of a file, and rows of it, from which on it looks as if it counted from 1."""


@dataclass(frozen=True)
class Region:
    """A stretch of a contig."""

    name: str
    """Name of the contig."""
    start: int
    """Letters of the contig before the region."""
    end: int
    """Letters of the contig up to the end of the region."""
    label: str = "."
    """Column 4 of BED; "." where there is none."""
    strand: str = "."
    """"+", "-" or "."."""
    row: int = 0
    """Line of the file, from 1."""

    @property
    def place(self) -> str:
        """Name of the region, counted from 1 as genome browsers do."""
        return f"{self.name}:{self.start + 1}-{self.end}" + (f"({self.strand})" if self.strand != "." else "")

    def centred(self, window: int) -> "Region":
        """Return the region of so many letters around the middle of this one."""
        start = (self.start + self.end - window) // 2
        return Region(self.name, start, start + window, self.label, self.strand, self.row)

    def codes(self, genome: Genome) -> NDArray[np.uint8]:
        """Return the codes of the region's letters, read on its strand."""
        codes = genome.fetch(self.name, self.start, self.end)
        return reverse_complement(codes) if self.strand == "-" else codes


def read_bed(path: Path) -> list[Region]:
    """Return the regions of a BED file (3 to 12 columns; narrowPeak and broadPeak too), plain or gzip.

    Raises:
        DataError: the file is missing or empty, or a line is not BED; the message names its row.
    """
    regions = [_parse(line, path, row) for row, line in _lines(path)]
    if not regions:
        raise DataError(f"{path} has no regions")
    return regions


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with open_text(path) as file:
        for row, line in enumerate(file, 1):
            text = line.rstrip("\r\n")
            if text.strip() and not text.startswith(("#", "track", "browser")):
                yield row, text


def _parse(text: str, path: Path, row: int) -> Region:
    cells = text.split("\t") if "\t" in text else text.split()
    where = f"{path}, row {row}"
    if len(cells) < 3:
        raise DataError(f"{where}: BED has at least 3 columns, contig, start and end; this line has {len(cells)}")
    name, first, last, *more = cells
    if not (first.isdecimal() and last.isdecimal() and len(first) < 16 and len(last) < 16):
        raise DataError(f"{where}: start and end must be whole numbers, not {first!r:.40} and {last!r:.40}")
    start, end = int(first), int(last)
    if start > end:
        raise DataError(f"{where}: the region ends ({end}) before it starts ({start})")
    if start == end:
        raise DataError(
            f"{where}: the region has no letters: BED counts from 0 and the end is not included, so the first letter "
            "of a contig is 0 to 1"
        )
    strand = more[2] if len(more) > 2 and more[2] in ("+", "-") else "."
    return Region(name, start, end, more[0].strip() or "." if more else ".", strand, row)


def check_regions(regions: Sequence[Region], genome: Genome, path: Path) -> None:
    """Refuse regions that the genome does not have; warn of a file that seems to count from 1.

    Raises:
        DataError: contigs are unknown, or a region ends outside its contig.
    """
    genome.check_names((region.name for region in regions), path)
    for region in regions:
        length = genome.length(region.name)
        if region.end > length:
            hint = ": does the file count from 1?" if region.start == length else ""
            raise DataError(
                f"{path}, row {region.row}: {region.place} lies outside the contig, which has {length:,} letters{hint}"
            )
    if looks_one_based(regions):
        size = Counter(r.end - r.start for r in regions).most_common(1)[0][0]
        warnings.warn(
            f"{path} looks as if it counted from 1 (regions of {size} letters, none that starts at 0): BED counts "
            "from 0, so 1 must be taken from each start",
            TitansSeqWarning,
            stacklevel=2,
        )


def looks_one_based(regions: Sequence[Region]) -> bool:
    """Return whether nearly all regions are one letter short of a multiple of ten, or of the next region.

    Regions that touch do so by end = start in BED, and by end + 1 = start where both are counted from 1.
    """
    if len(regions) < ONE_BASED_ROWS or any(r.start == 0 for r in regions):
        return False
    sizes = np.array([r.end - r.start for r in regions])
    ordered = sorted(regions, key=lambda r: (r.name, r.start))
    gaps = np.array([b.start - a.end for a, b in pairwise(ordered) if a.name == b.name])
    one_gap = len(gaps) >= ONE_BASED_ROWS and float((gaps == 1).mean()) >= ONE_BASED_SHARE
    return one_gap or float((sizes % 10 == 9).mean()) >= ONE_BASED_SHARE


class Covered:
    """Which letters of a genome lie in some regions: sorted, overlapping ones merged."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self._starts: dict[str, list[int]] = defaultdict(list)
        self._ends: dict[str, list[int]] = defaultdict(list)
        for region in sorted(regions, key=lambda r: (r.name, r.start)):
            starts, ends = self._starts[region.name], self._ends[region.name]
            if ends and region.start <= ends[-1]:
                ends[-1] = max(ends[-1], region.end)
            else:
                starts.append(region.start)
                ends.append(region.end)

    def overlaps(self, name: str, start: int, end: int) -> bool:
        """Return whether a region shares a letter with these."""
        index = bisect_right(self._ends[name], start)
        return index < len(self._starts[name]) and self._starts[name][index] < end


def draw_negatives(regions: Sequence[Region], genome: Genome, per_region: float, seed: int) -> list[Region]:
    """Return regions of the same contigs and lengths, and of like share of G and C, that overlap with none of these.

    Of up to 50 places of chance the one whose share of G and C is nearest counts; strands are as often as in `regions`.

    Args:
        regions: (N,), which the genome has.
        per_region: negatives for each of them, a share or a multiple.

    Raises:
        DataError: the regions leave no room.
    """
    generator = np.random.default_rng(seed)
    covered, drawn, misses = Covered(regions), list[Region](), list[float]()
    count = round(per_region * len(regions))
    order = np.concatenate([generator.permutation(len(regions)) for _ in range(-(-count // len(regions)))])[:count]
    for index in order.tolist():
        region = regions[index]
        size, length = region.end - region.start, genome.length(region.name)
        wanted, best, miss = gc_share(region.codes(genome)), None, np.inf
        for start in generator.integers(0, length - size + 1, CANDIDATES).tolist():
            if covered.overlaps(region.name, start, start + size):
                continue
            codes = genome.fetch(region.name, start, start + size)
            if (codes == UNKNOWN).mean() > MAX_UNKNOWN:
                continue
            difference = abs(gc_share(codes) - wanted)
            if difference < miss:
                best, miss = start, difference
            if miss <= CLOSE:
                break
        if best is None:
            raise DataError(
                f"there is no room for negatives of {size} letters on contig {region.name!r}: the regions cover it, "
                "or its letters are unknown"
            )
        drawn.append(Region(region.name, best, best + size, strand=region.strand))
        misses.append(miss)
    if misses and float(np.mean(misses)) > 5 * CLOSE:
        warnings.warn(
            f"the negatives differ from the regions by {100 * float(np.mean(misses)):.0f} % of G and C in the mean: "
            "there are no better places",
            TitansSeqWarning,
            stacklevel=2,
        )
    return drawn


def gc_share(codes: NDArray[np.uint8]) -> float:
    """Return the share of G and C among the known letters of codes (L,); 0.5 where there are none."""
    known = int((codes < UNKNOWN).sum())
    return float(((codes == 1) | (codes == 2)).sum()) / known if known else 0.5
