"""Labelled sequences of a file of any kind: tables, GenBank, and BED or GFF3 beside the genome that they describe."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import numpy as np

from titans_seq.domains.genomics.alphabet import decode
from titans_seq.domains.genomics.annotations import AnnotatedContig, read_genbank, read_gff3
from titans_seq.domains.genomics.cuts import Cuts
from titans_seq.domains.genomics.genome import Genome
from titans_seq.domains.genomics.records import (
    BED,
    FASTA,
    GENBANK,
    GFF3,
    TABLES,
    LabelledSequences,
    read_table,
    sequence_suffix,
)
from titans_seq.domains.genomics.regions import Region, check_regions, draw_negatives, read_bed
from titans_seq.errors import DataError, TitansSeqWarning

INSIDE, OUTSIDE = 0.8, 0.2
"""Shares of a window's letters in a feature from which it is inside, and up to which it is outside."""
BLOCK_WINDOWS = 10
"""Windows of one stretch that is not torn apart in a split."""
LEAST_CONTIGS = 5
"""Contigs from which on a split keeps whole contigs together; with fewer, stretches of ten regions' letters."""


def read_labelled(path: str | Path, cuts: Cuts | None = None, seed: int = 0) -> LabelledSequences:
    """Return the sequences and classes of a table (columns sequence and label), GenBank, BED or GFF3.

    Args:
        cuts: how windows are cut; tables need none.
        seed: seed of the negatives.

    Raises:
        DataError: a file is missing, damaged, of another kind, or has no labels.
    """
    path, cuts = Path(path), cuts or Cuts()
    suffix = sequence_suffix(path, TABLES + GENBANK + GFF3 + BED + FASTA)
    if suffix in FASTA:
        raise DataError(
            f"{path} is FASTA, which has no labels: a table with columns sequence and label is needed, or a BED or "
            "GFF3 file with FASTA as its genome"
        )
    window = 300 if cuts.window is None else cuts.window
    if suffix in BED + GFF3:
        if cuts.genome is None:
            raise DataError(f"{path} needs the genome that it describes: give a FASTA file as genome")
        with Genome(cuts.genome) as genome:
            if suffix in GFF3:
                contigs = list(read_gff3(path, genome))
                _warn_of_one_strand({f.strand for c in contigs for f in c.features if f.kind == cuts.feature}, path)
                return cut_annotated(contigs, path, cuts.feature, window, cuts.stride)
            return cut_regions(path, genome, cuts.window, cuts.negatives, seed)
    if cuts.genome is not None:
        raise DataError(f"a genome is for BED and GFF3 files; {path} has its sequences itself")
    if suffix in GENBANK:
        return cut_annotated(read_genbank(path), path, cuts.feature, window, cuts.stride)
    return read_table(path)


def cut_regions(path: Path, genome: Genome, window: int | None, negatives: float, seed: int) -> LabelledSequences:
    """Return the letters of a BED file's regions, read on their strands, and of negatives that match them.

    The classes are the file's name and "no NAME"; without negatives they are in column 4.

    Args:
        window: letters around the middle of each region; None: the regions as they are.
        negatives: negatives for each region.

    Raises:
        DataError: see `read_bed`, `check_regions` and `draw_negatives`; or there are no classes.
    """
    if window is not None and window < 1:
        raise DataError(f"window must be at least 1, not {window}")
    if not 0 <= negatives <= 100:
        raise DataError(f"negatives must lie from 0 to 100 for each region, not {negatives}")
    regions = read_bed(path)
    check_regions(regions, genome, path)
    _warn_of_one_strand({region.strand for region in regions}, path)
    if window is not None:
        whole = [region.centred(window) for region in regions]
        regions = [r for r in whole if r.start >= 0 and r.end <= genome.length(r.name)]
        if len(regions) < len(whole):
            _warn(f"{len(whole) - len(regions)} of {len(whole)} windows reach beyond their contigs: they are left out")
        if not regions:
            raise DataError(f"no contig of {genome.path} has room for a window of {window} letters around a region")
    kind = path.name.split(".")[0]
    labels = [kind] * len(regions)
    drawn: list[Region] = []
    if negatives:
        drawn = draw_negatives(regions, genome, negatives, seed)
    else:
        labels = [region.label for region in regions]
        if len(set(labels)) < 2 or "." in labels:
            raise DataError(f"{path}: without negatives, column 4 must name the class of each region, two or more")
    both = [*regions, *drawn]
    block = BLOCK_WINDOWS * int(median(region.end - region.start for region in regions))
    is_whole = len({region.name for region in both}) >= LEAST_CONTIGS
    return LabelledSequences(
        sequences=[decode(region.codes(genome)) for region in both],
        labels=labels + [f"no {kind}"] * len(drawn),
        names=[region.place for region in both],
        groups=[r.name if is_whole else f"{r.name}:{r.start // block}" for r in both],
        contigs=[region.name for region in both],
    )


def cut_annotated(
    contigs: Iterable[AnnotatedContig], path: Path, feature: str = "CDS", window: int = 300, stride: int = 300
) -> LabelledSequences:
    """Cut contigs into windows, labelled by whether most of a window lies in such a feature.

    Windows that lie between a fifth and four fifths inside are left out: they are neither.

    Args:
        path: the file of the features, for messages.
        feature: type of the features.
        window: letters of a window.
        stride: letters from one window to the next.

    Raises:
        DataError: there is no contig, no such feature, or no contig as long as a window.
    """
    if window < 1 or stride < 1:
        raise DataError(f"window and stride must be at least 1, not {window} and {stride}")
    cut = LabelledSequences([], [], [], [])
    types: set[str] = set()
    for contig in contigs:
        types |= {item.kind for item in contig.features}
        covered = np.concatenate([[0], contig.is_inside(feature).cumsum()])
        for start in range(0, contig.length - window + 1, stride):
            share = float(covered[start + window] - covered[start]) / window
            if OUTSIDE < share < INSIDE:
                continue
            cut.sequences.append(decode(contig.fetch(start, start + window)))
            cut.labels.append(feature if share >= INSIDE else f"no {feature}")
            cut.names.append(f"{contig.name}:{start + 1}-{start + window}")
            cut.groups.append(f"{contig.name}:{start // (BLOCK_WINDOWS * window)}")
    if not types:
        raise DataError(f"{path} has no records with features")
    if feature not in types:
        raise DataError(f"{path} has no feature {feature!r}; it has {', '.join(sorted(types))}")
    if not cut.sequences:
        raise DataError(f"{path} has no record as long as a window of {window}")
    return cut


def _warn_of_one_strand(strands: set[str], path: Path) -> None:
    if len(strands) == 1 and not strands <= {"."}:
        _warn(f"everything in {path} lies on strand {strands.pop()}: what lies on the other one counts as outside")


def _warn(message: str) -> None:
    warnings.warn(message, TitansSeqWarning, stacklevel=4)
