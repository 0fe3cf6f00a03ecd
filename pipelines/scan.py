"""`titans-seq scan`: score a genome of any size by a classifier, both strands, as BED, bedGraph or GFF3."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.engine import open_engine
from titans_seq.errors import DataError
from titans_seq.files import write_atomically
from titans_seq.pipelines.options import EngineOptions, ResultOptions
from titans_seq.pipelines.output import claim_file
from titans_seq.pipelines.saved import SavedModel
from titans_seq.progress import byte_progress

if TYPE_CHECKING:
    from titans_seq.domains.genomics.classifier import TitansDNAClassifier
    from titans_seq.domains.genomics.scan import WindowScores
    from titans_seq.domains.genomics.stream import RecordWindows


@dataclass(frozen=True, kw_only=True)
class Scan(ResultOptions, EngineOptions):
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

    def run(self) -> dict[str, Any]:
        """Scan the genome and write the file, which appears when all of it is there; return counts and seconds.

        Raises:
            DataError: the input is wrong; nothing has been written then.
            ModelError: there is no such model.
        """
        from titans_seq.domains.genomics.scan import find_hits, tile_records
        from titans_seq.domains.genomics.stream import cut_windows, read_stretches
        from titans_seq.domains.genomics.tracks import format_header, format_hit, track_format

        started = time.perf_counter()
        kind = track_format(self.out)
        if not 0 <= self.threshold <= 1:
            raise DataError(f"threshold must lie from 0 to 1, not {self.threshold}")
        saved = SavedModel.find(self.model)
        model = _load(saved)
        label, window = self._choose_label(model), self._choose_window(model)
        if not self.genome.is_file():
            raise DataError(f"no such file: {self.genome}")
        claim_file(self.out, self.force, self.genome)
        counts = Counter({"records": 0, "windows": 0, "not_scored": 0})
        name = str(model.classes_[label])
        lines = 0
        with (
            write_atomically(self.out) as temporary,
            temporary.open("w", encoding="utf-8") as file,
            byte_progress(self.genome, "scanning", sys.stderr.isatty() and not self.json) as on_bytes,
            open_engine(self.engine, self.workers) as apply,
        ):
            file.write(format_header(kind, name))
            windows = cut_windows(read_stretches(self.genome, on_bytes), window, self.stride)
            scores = _count(apply(partial(_score, saved, label), windows), counts)
            for hit in tile_records(scores) if kind == "bedgraph" else find_hits(scores, self.threshold):
                lines += 1
                file.write(format_hit(kind, hit, name, lines))
        seconds = time.perf_counter() - started
        if not self.json:
            print(
                f"{self.out}: {lines:,} lines; {counts['windows']:,} windows of {window} letters in "
                f"{counts['records']:,} records, {counts['not_scored']:,} of them too unknown to score; {seconds:.0f} s"
            )
        return {
            "model": str(self.model), "genome": str(self.genome), "out": str(self.out), "label": name,
            "window": window, "stride": self.stride, "strands": "both",
            **counts, "lines": lines, "seconds": round(seconds, 1),
        }  # fmt: skip

    def _choose_label(self, model: "TitansDNAClassifier") -> int:
        """Return the number of the class whose probability counts."""
        from titans_seq.domains.genomics.labels import class_index

        if self.label is None and len(model.classes_) > 2:
            names = ", ".join(str(c) for c in model.classes_.tolist())
            raise DataError(f"the model has more than 2 classes, --label must name one: {names}")
        return 1 if self.label is None else class_index(model.classes_, self.label)

    def _choose_window(self, model: "TitansDNAClassifier") -> int:
        """Return the letters of a window, which the stride must not exceed."""
        from titans_seq.domains.genomics.fitting import MAX_LETTERS

        window = model.lengths_[1] if self.window is None else self.window
        if not 1 <= window <= MAX_LETTERS:
            raise DataError(f"window must lie from 1 to {MAX_LETTERS}, not {window}")
        if not 1 <= self.stride <= window:
            raise DataError(f"stride must lie from 1 to the window of {window} letters, not {self.stride}")
        return window


@lru_cache(maxsize=1)
def _load(saved: SavedModel) -> "TitansDNAClassifier":
    """Return a saved classifier; each process loads it once."""
    from titans_seq.domains.genomics.classifier import TitansDNAClassifier

    return TitansDNAClassifier.load(saved.folder)


def _score(model: SavedModel, label: int, windows: "RecordWindows") -> "WindowScores":
    """Return the scores of some windows, in whichever process."""
    from titans_seq.domains.genomics.scan import score_windows

    return score_windows(_load(model), label, windows)


def _count(scores: Iterator["WindowScores"], counts: Counter[str]) -> Iterator["WindowScores"]:
    """Yield the scores as they come; count records, windows, and windows that were not scored."""
    name = None
    for part in scores:
        counts["records"] += part.name != name
        name = part.name
        counts["windows"] += len(part.starts)
        counts["not_scored"] += int((part.forward != part.forward).sum())
        yield part
