"""`titans-seq variants`: what the variants of a VCF file do to a classifier's answer, in its INFO or as a table."""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.errors import DataError
from titans_seq.files import write_atomically
from titans_seq.pipelines.options import ResultOptions
from titans_seq.pipelines.output import claim_file
from titans_seq.pipelines.saved import SavedModel
from titans_seq.progress import progress_bar

if TYPE_CHECKING:
    from titans_seq.domains.genomics.variants import VariantEffect
    from titans_seq.domains.genomics.vcf import VariantFile

VCF, TABLES = (".vcf",), {".tsv": "\t", ".csv": ","}
KEYS = {"forward": "TITANS_EFFECT", "reverse": "TITANS_EFFECT_REVERSE"}
"""Strand -> key in INFO."""
PROBABILITIES = "TITANS_PROBABILITY"


@dataclass(frozen=True, kw_only=True)
class Variants(ResultOptions):
    """Score each allele of a VCF file by the change of a class's log-odds, and write it into INFO or a table."""

    model: Path
    """Folder of a saved classifier."""
    genome: Path
    """FASTA file, plain or BGZF, that the variants refer to."""
    vcf: Path
    """VCF file, plain or gzip."""
    out: Path
    """File to write: .vcf or .vcf.gz, the same with scores in INFO; .tsv or .csv, a row for each allele."""
    label: str | None = None
    """Class whose log-odds count; must be given."""
    window: int | None = None
    """Letters around each variant; none means the median length of the training sequences."""

    def run(self) -> dict[str, Any]:
        """Score the variants and write the file, which appears when all of it is there; return counts and seconds.

        Raises:
            DataError: the input is wrong; nothing has been written then.
            ModelError: there is no such model.
        """
        from titans_seq.domains.genomics.classifier import TitansDNAClassifier
        from titans_seq.domains.genomics.fitting import MAX_LETTERS
        from titans_seq.domains.genomics.genome import Genome
        from titans_seq.domains.genomics.labels import required_class
        from titans_seq.domains.genomics.variants import VariantCounts, score_variants
        from titans_seq.domains.genomics.vcf import open_output, open_vcf

        started = time.perf_counter()
        suffix = Path(self.out.stem).suffix if self.out.suffix == ".gz" else self.out.suffix
        if suffix not in (*VCF, *TABLES):
            raise DataError(f"{self.out}: the suffix tells the format, one of .vcf, .tsv, .csv, or .gz of it")
        model = TitansDNAClassifier.load(SavedModel.find(self.model).folder)
        label = required_class(model.classes_, self.label)
        window = model.lengths_[1] if self.window is None else self.window
        if not 2 <= window <= MAX_LETTERS:
            raise DataError(f"window must lie from 2 to {MAX_LETTERS}, not {window}")
        claim_file(self.out, self.force, self.vcf)
        counts = VariantCounts()
        with (
            Genome(self.genome) as genome,
            open_vcf(self.vcf) as variants,
            write_atomically(self.out) as temporary,
            open_output(temporary, self.out.suffix == ".gz") as file,
            progress_bar(sys.stderr.isatty() and not self.json) as bar,
        ):
            task = bar.add_task("scoring variants", total=None)
            effects = score_variants(model, genome, variants, window, label, counts, self.vcf)
            lines = (
                _vcf_lines(variants, effects, str(model.classes_[label]))
                if suffix in VCF
                else _table_lines(effects, TABLES[suffix], model.reading_.strand == "given")
            )
            for line in lines:
                file.write(line)
                bar.update(task, completed=counts.variants)
        seconds = time.perf_counter() - started
        if not self.json:
            print(
                f"{self.out}: {counts.scored:,} of {counts.alleles:,} alleles of {counts.variants:,} variants scored "
                f"by the log-odds of {model.classes_[label]}; {counts.mismatches:,} variants with another reference "
                f"than the genome's; {seconds:.0f} s"
            )
        return {
            "model": str(self.model), "genome": str(self.genome), "vcf": str(self.vcf), "out": str(self.out),
            "label": str(model.classes_[label]), "window": window, "variants": counts.variants,
            "alleles": counts.alleles, "scored": counts.scored, "mismatches": counts.mismatches,
            "seconds": round(seconds, 1),
        }  # fmt: skip


def _vcf_lines(variants: "VariantFile", effects: Iterable["VariantEffect"], label: str) -> Iterator[str]:
    """Yield the lines of a VCF file with scores."""
    name = label.replace('"', "'")
    yield variants.header_with(
        {
            KEYS["forward"]: f'Number=A,Type=Float,Description="Change of the log-odds of {name} by the allele"',
            KEYS["reverse"]: 'Number=A,Type=Float,Description="The same, read on the other strand"',
            PROBABILITIES: f'Number=R,Type=Float,Description="Probability of {name} with each allele"',
        }
    )
    for effect in effects:
        info: dict[str, str] = {}
        for strand, key in KEYS.items():
            values = [allele[strand].change if strand in allele else None for allele in effect.alleles]
            if any(value is not None for value in values):
                info[key] = ",".join("." if value is None else f"{value:.4f}" for value in values)
        scored = [allele["forward"].probabilities if allele else None for allele in effect.alleles]
        known = next((pair for pair in scored if pair is not None), None)
        if known is not None:
            info[PROBABILITIES] = ",".join([f"{known[0]:.4f}", *("." if p is None else f"{p[1]:.4f}" for p in scored)])
        yield effect.variant.with_info(info)


def _table_lines(effects: Iterable["VariantEffect"], separator: str, both: bool) -> Iterator[str]:
    """Yield the lines of a table, a row for each allele."""
    strands = list(KEYS) if both else ["forward"]
    names = [f"{name}{'' if s == 'forward' else '_reverse'}" for s in strands for name in ("p_ref", "p_alt", "effect")]
    yield separator.join(["contig", "position", "id", "ref", "alt", *names, "note"]) + "\n"
    for effect in effects:
        own = effect.variant
        for alt, allele in zip(own.alts, effect.alleles, strict=True):
            cells = [own.name, str(own.position), own.cells[2], own.ref, alt]
            for strand in strands:
                found = allele.get(strand)
                values = (None, None, None) if found is None else (*found.probabilities, found.change)
                cells += ["" if value is None else f"{value:.4f}" for value in values]
            note = "reference mismatch" if effect.is_mismatch else "" if allele else "not scored"
            yield separator.join([*(_quoted(cell, separator) for cell in cells), note]) + "\n"


def _quoted(cell: str, separator: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if separator in cell or '"' in cell else cell
