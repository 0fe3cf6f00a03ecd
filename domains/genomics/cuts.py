"""Options of cutting windows from a genome."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """How windows are cut from a genome."""

    genome: Path | None = None
    """FASTA file, plain or BGZF, that the regions of a BED or GFF3 file are cut from."""
    feature: str = "CDS"
    """GenBank and GFF3: windows in features of this type against those outside."""
    window: int | None = None
    """Letters of a window; none means 300 of GenBank and GFF3, and the regions of BED as they are."""
    stride: int = 100
    """GenBank and GFF3: letters from one window to the next."""
    negatives: float = 1.0
    """BED: negatives that are drawn for each region, of its length and its share of G and C, on its contig; 0: none,
    column 4 names the class."""
