"""What variants do to a classifier's answer. Axes: N variants of a batch, S windows of it, L letters of a window."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from titans_seq.domains.genomics.alphabet import UNKNOWN, decode, encode, reverse_complement
from titans_seq.domains.genomics.classifier import TitansDNAClassifier
from titans_seq.domains.genomics.genome import Genome
from titans_seq.domains.genomics.mutagenesis import log_odds
from titans_seq.domains.genomics.vcf import Variant, is_spelled
from titans_seq.errors import DataError

BATCH = 256
"""Variants that are scored together."""
MAX_MISMATCH, LEAST = 0.05, 100
"""Share of variants whose REF is not what the genome has that is refused: at the end, and on the way after so many."""
STRANDS = ("forward", "reverse")


@dataclass(frozen=True)
class AlleleEffect:
    """What one alternative allele does to the log-odds of a class, on one strand."""

    ref: float
    """Log-odds of the class with the reference allele."""
    alt: float
    """Log-odds of the class with the alternative allele."""

    @property
    def change(self) -> float:
        """Change of the natural log-odds."""
        return self.alt - self.ref

    @property
    def probabilities(self) -> tuple[float, float]:
        """Probabilities of the class with the reference and with the alternative allele."""
        return float(expit(self.ref)), float(expit(self.alt))


@dataclass(frozen=True)
class VariantEffect:
    """A variant and what each of its alleles does."""

    variant: Variant
    alleles: list[dict[str, AlleleEffect]]
    """For each alternative allele: strand -> effect; empty where it was not scored."""
    is_mismatch: bool = False
    """Whether the genome has other letters than REF."""


@dataclass
class VariantCounts:
    """What came of the variants of a file."""

    variants: int = 0
    alleles: int = 0
    scored: int = 0
    """Alleles."""
    mismatches: int = 0
    """Variants whose REF is not what the genome has."""
    first_mismatches: list[str] = field(default_factory=list)
    renamed: set[str] = field(default_factory=set)
    """Contigs that the genome calls otherwise."""

    def add(self, effect: VariantEffect, found: str) -> None:
        """Count a variant; `found` is what the genome has."""
        self.variants += 1
        self.alleles += len(effect.alleles)
        self.scored += sum(map(bool, effect.alleles))
        if effect.is_mismatch:
            self.mismatches += 1
            if len(self.first_mismatches) < 3:
                own = effect.variant
                self.first_mismatches.append(f"row {own.row}: {own.name}:{own.position} is {found}, REF is {own.ref}")

    def check(self, source: object, is_end: bool) -> None:
        """Raise DataError if the reference of too many variants is another one."""
        if self.mismatches > MAX_MISMATCH * self.variants and (is_end or self.variants >= LEAST):
            raise DataError(
                f"{source}: the reference of {self.mismatches} of {self.variants} variants is not what the genome has, "
                f"more than {100 * MAX_MISMATCH:.0f} %: is it another assembly? ({'; '.join(self.first_mismatches)})"
            )


def score_variants(
    model: TitansDNAClassifier,
    genome: Genome,
    variants: Iterable[Variant],
    window: int,
    label: int,
    counts: VariantCounts,
    source: object = "the file",
) -> Iterator[VariantEffect]:
    """Yield the effect of each variant, in order: the class's log-odds in a window around it, with REF and with ALT.

    A window has the same letters on the left of REF and of ALT and the same length, so after an indel it ends at
    another place of the genome. A model of strand="given" reads both strands. What is not spelled out, is longer than
    half a window, or does not match the genome is not scored.

    Args:
        window: letters of a window.
        label: number of the class.
        counts: is added to.
        source: what messages call the file.

    Raises:
        DataError: a contig is unknown, a position lies outside it, or more than 5 % of REF are not the genome's.
    """
    strands = STRANDS[:1] if model.reading_.strand == "both" else STRANDS
    source_of = iter(variants)
    while batch := list(islice(source_of, BATCH)):
        windows: list[NDArray[np.uint8]] = []
        places: list[list[int | None]] = []
        founds = [_found(variant, genome, source, counts) for variant in batch]
        for variant, found in zip(batch, founds, strict=True):
            if not _matches(variant.ref, found) or 2 * len(variant.ref) > window:
                places.append([None] * (len(variant.alts) + 1))
                continue
            alleles = [variant.ref, *variant.alts]
            own: list[int | None] = []
            for allele in alleles:
                is_scored = is_spelled(allele) and 2 * len(allele) <= window
                own.append(len(windows) if is_scored else None)
                if is_scored:
                    windows.append(_window(genome, variant, allele, window))
            places.append(own)
        scores = [_score(model, codes, label) for codes in _strands(windows, strands)]
        for variant, found, (ref, *alts) in zip(batch, founds, places, strict=True):
            effects = [
                {}
                if ref is None or alt is None
                else {s: AlleleEffect(*(float(v[i]) for i in (ref, alt))) for s, v in zip(strands, scores, strict=True)}
                for alt in alts
            ]
            effect = VariantEffect(variant, effects, not _matches(variant.ref, found))
            counts.add(effect, found)
            counts.check(source, is_end=False)
            yield effect
    counts.check(source, is_end=True)


def _found(variant: Variant, genome: Genome, source: object, counts: VariantCounts) -> str:
    """Return the letters that the genome has where a variant is; say once which contig is called otherwise there."""
    own = genome.find(variant.name)
    if own not in (None, variant.name) and variant.name not in counts.renamed:
        counts.renamed.add(variant.name)
        genome.check_names([variant.name], source)
    if own is None:
        raise DataError(
            f"{source}, row {variant.row}: {genome.path} has no contig {variant.name!r}; it has "
            + ", ".join(list(genome.lengths)[:5])
        )
    if not 0 <= variant.start < genome.length(variant.name):
        raise DataError(
            f"{source}, row {variant.row}: {variant.name}:{variant.position} lies outside the contig, which has "
            f"{genome.length(variant.name):,} letters"
        )
    return decode(genome.fetch(variant.name, variant.start, variant.start + len(variant.ref)))


def _matches(ref: str, found: str) -> bool:
    return all(a == b or "N" in (a, b) for a, b in zip(ref, found, strict=True))


def _window(genome: Genome, variant: Variant, allele: str, window: int) -> NDArray[np.uint8]:
    """Return the codes (L,) of a window with an allele in its middle."""
    left = (window - len(variant.ref)) // 2
    right = window - left - len(allele)
    behind = variant.start + len(variant.ref)
    return np.concatenate(
        [
            genome.fetch(variant.name, variant.start - left, variant.start),
            encode(allele.encode(), f"row {variant.row}"),
            genome.fetch(variant.name, behind, behind + right),
        ]
    )


def _strands(windows: list[NDArray[np.uint8]], strands: tuple[str, ...]) -> list[NDArray[np.uint8]]:
    codes = np.stack(windows) if windows else np.full((0, 0), UNKNOWN, dtype=np.uint8)
    return [codes if strand == STRANDS[0] else reverse_complement(codes) for strand in strands]


def _score(model: TitansDNAClassifier, codes: NDArray[np.uint8], label: int) -> NDArray[np.float64]:
    """Return the log-odds of a class (S,) of windows (S, L)."""
    if not len(codes):
        return np.empty(0)
    scores: NDArray[np.float64] = log_odds(model.predict_logits(codes))[:, label]
    return scores
