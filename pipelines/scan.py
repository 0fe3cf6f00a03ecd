"""`titans-seq scan`: a genome of any size through a classifier, both strands, to BED, bedGraph or GFF3."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError
from titans_seq.files import write_atomically
from titans_seq.pipelines.output import claim_file
from titans_seq.progress import byte_progress


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Score windows along a FASTA file and write those that are hits, or a profile (bedGraph)."""

    model: Path
    """Folder of a saved classifier."""
    genome: Path
    """FASTA file, plain or gzip."""
    out: Path
    """File to write; .bed, .bedgraph or .gff3 tells the format."""
    label: str | None = None
    """Class whose probability counts; none means the second of two."""
    window: int | None = None
    """Letters of a window; none means the median length of the training sequences."""
    stride: int = 50
    """Letters from one window to the next."""
    threshold: float = 0.5
    """Probability from which a window is a hit (BED and GFF3)."""
    force: bool = False
    """Overwrite the file."""
    json: bool = False
    """Print counts as JSON on standard output."""

    def run(self) -> dict[str, Any]:
        """Do it; returns counts and seconds."""
        return run_scan(self)


def run_scan(options: Scan) -> dict[str, Any]:
    """Stream, score and write; the file appears when all of it is there.

    Raises:
        DataError: wrong input; nothing has been written then.
        ModelError: there is no such model.
    """
    from titans_seq.domains.genomics.classifier import TitansDNAClassifier
    from titans_seq.domains.genomics.fitting import LONGEST
    from titans_seq.domains.genomics.mutagenesis import chosen_class
    from titans_seq.domains.genomics.scan import Scored, hits, profile, scan
    from titans_seq.domains.genomics.tracks import header, kind_of_track, line

    started = time.perf_counter()
    kind = kind_of_track(options.out)
    if not 0 <= options.threshold <= 1:
        raise DataError(f"threshold must lie from 0 to 1, not {options.threshold}")
    model = TitansDNAClassifier.load(options.model)
    if options.label is None and len(model.classes_) > 2:
        names = ", ".join(str(c) for c in model.classes_.tolist())
        raise DataError(f"the model has more than 2 classes, --label must name one: {names}")
    label = chosen_class(model, model.classes_, options.label)
    window = model.lengths_[1] if options.window is None else options.window
    if not 1 <= window <= LONGEST:
        raise DataError(f"window must lie from 1 to {LONGEST}, not {window}")
    if not 1 <= options.stride <= window:
        raise DataError(f"stride must lie from 1 to the window of {window} letters, not {options.stride}")
    if not options.genome.is_file():
        raise DataError(f"no such file: {options.genome}")
    claim_file(options.out, options.force, options.genome)
    counts = {"records": 0, "windows": 0, "not_scored": 0}

    def counted(found: Iterator[Scored]) -> Iterator[Scored]:
        name = None
        for part in found:
            counts["records"] += part.name != name
            name = part.name
            counts["windows"] += len(part.starts)
            counts["not_scored"] += int((part.forward != part.forward).sum())
            yield part

    name = str(model.classes_[label])
    number = 0
    with (
        write_atomically(options.out) as temporary,
        temporary.open("w", encoding="utf-8") as file,
        byte_progress(options.genome, "scanning", sys.stderr.isatty() and not options.json) as on_bytes,
    ):
        file.write(header(kind, name))
        scored = counted(scan(model, options.genome, window, options.stride, label, on_bytes))
        for hit in profile(scored) if kind == "bedgraph" else hits(scored, options.threshold):
            number += 1
            file.write(line(kind, hit, name, number))
    seconds = time.perf_counter() - started
    result = {
        "model": str(options.model), "genome": str(options.genome), "out": str(options.out), "label": name,
        "window": window, "stride": options.stride, "strands": "both",
        **counts, "lines": number, "seconds": round(seconds, 1),
    }  # fmt: skip
    if not options.json:
        print(
            f"{options.out}: {number:,} lines; {counts['windows']:,} windows of {window} letters in "
            f"{counts['records']:,} records, {counts['not_scored']:,} of them too unknown to score; {seconds:.0f} s"
        )
    return result
