"""`titans-seq scan`: score a genome of any size by a classifier, both strands, as BED, bedGraph, bigWig or GFF3."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.engine import open_engine
from titans_seq.errors import DataError
from titans_seq.files import digest, write_atomically
from titans_seq.journal import Journal
from titans_seq.pipelines.options import EngineOptions, ResultOptions
from titans_seq.pipelines.output import claim_file
from titans_seq.pipelines.saved import SavedModel
from titans_seq.progress import byte_progress

if TYPE_CHECKING:
    from titans_seq.domains.genomics.classifier import TitansDNAClassifier
    from titans_seq.domains.genomics.scan import WindowScores
    from titans_seq.domains.genomics.stream import RecordWindows, Stretch


@dataclass(frozen=True, kw_only=True)
class Scan(ResultOptions, EngineOptions):
    """Score windows along a FASTA file and write those that are hits, or a profile (bedGraph, bigWig).

    A scan that was killed goes on where it was when the same command is given again.
    """

    model: Path
    """Folder of a saved classifier."""
    genome: Path
    """FASTA file, plain or gzip."""
    out: Path
    """File to write; .bed, .bedgraph, .bw or .gff3 tells the format."""
    label: str | None = None
    """Class whose probability counts; must be given."""
    window: int | None = None
    """Letters of a window; none means the median length of the training sequences."""
    stride: int = 50
    """Letters from one window to the next."""
    threshold: float = 0.5
    """Probability from which a window is a hit (BED and GFF3)."""
    merge: bool = False
    """Make one of hits that touch or overlap on a strand (BED and GFF3)."""
    shard: str | None = None
    """K/N: scan the K-th of N shares of the records; the N files, one behind the other, are the file of all."""

    def run(self) -> dict[str, Any]:
        """Scan the genome and write the file, which appears when all of it is there; return counts and seconds.

        Raises:
            DataError: the input is wrong; nothing has been written then.
            ModelError: there is no such model.
        """
        from titans_seq.domains.genomics.labels import required_class
        from titans_seq.domains.genomics.scan import find_hits, merge_hits, tile_records
        from titans_seq.domains.genomics.stream import cut_windows, read_stretches, record_lengths, share_records
        from titans_seq.domains.genomics.tracks import PROFILES, open_track, track_format

        started = time.perf_counter()
        kind = track_format(self.out)
        if not 0 <= self.threshold <= 1:
            raise DataError(f"threshold must lie from 0 to 1, not {self.threshold}")
        part, parts = _parse_shard(self.shard)
        if parts > 1 and kind == "bigwig":
            raise DataError("bigWig files cannot be put one behind the other: scan shares as .bedgraph")
        saved = SavedModel.find(self.model)
        model = _load(saved)
        label = required_class(model.classes_, self.label)
        window = self._choose_window(model)
        if not self.genome.is_file():
            raise DataError(f"no such file: {self.genome}")
        claim_file(self.out, self.force, self.genome)
        counts = Counter({"records": 0, "windows": 0, "not_scored": 0})
        name = str(model.classes_[label])
        lengths = record_lengths(self.genome) if parts > 1 or kind == "bigwig" else {}
        wanted = set(share_records(lengths, part, parts)) if parts > 1 else None
        found = self.genome.stat()
        key = [
            digest(Path(saved.folder)),
            self.genome.name,
            found.st_size,
            found.st_mtime_ns,
            window,
            self.stride,
            label,
        ]
        lines = 0
        with (
            write_atomically(self.out) as temporary,
            open_track(kind, temporary, name, lengths, has_header=part == 1) as write,
            Journal(self.out.with_name(f".{self.out.name}.scores"), [*key, self.shard]) as journal,
            byte_progress(self.genome, "scanning", not self.json) as on_bytes,
            open_engine(self.engine, self.jobs) as apply,
        ):
            if journal.kept and not self.json:
                print(f"{self.out}: going on behind {journal.kept:,} batches of windows", file=sys.stderr)
            windows = cut_windows(_only(read_stretches(self.genome, on_bytes), wanted), window, self.stride)
            scores = _count(_resume(journal, windows, partial(apply, partial(_score, saved, label))), counts)
            hits = tile_records(scores) if kind in PROFILES else find_hits(scores, self.threshold)
            for hit in merge_hits(hits) if self.merge and kind not in PROFILES else hits:
                lines += 1
                write(hit)
        seconds = time.perf_counter() - started
        if not self.json:
            print(
                f"{self.out}: {lines:,} lines of {name}; {counts['windows']:,} windows of {window} letters in "
                f"{counts['records']:,} records, {counts['not_scored']:,} of them too unknown to score; {seconds:.0f} s"
            )
        return {
            "model": str(self.model), "genome": str(self.genome), "out": str(self.out), "label": name,
            "window": window, "stride": self.stride, "strands": "both",
            **counts, "lines": lines, "seconds": round(seconds, 1),
        }  # fmt: skip

    def _choose_window(self, model: "TitansDNAClassifier") -> int:
        """Return the letters of a window, which the stride must not exceed."""
        from titans_seq.domains.genomics.fitting import MAX_LETTERS

        window = model.lengths_[1] if self.window is None else self.window
        if not 1 <= window <= MAX_LETTERS:
            raise DataError(f"window must lie from 1 to {MAX_LETTERS}, not {window}")
        if not 1 <= self.stride <= window:
            raise DataError(f"stride must lie from 1 to the window of {window} letters, not {self.stride}")
        return window


def _parse_shard(text: str | None) -> tuple[int, int]:
    """Return number and count of a share K/N; (1, 1) of all."""
    if text is None:
        return 1, 1
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal() and 1 <= int(first[:6]) <= int(second[:6])):
        raise DataError(f"shard reads K/N, as 1/4 to 4/4, not {text!r:.40}")
    return int(first), int(second)


def _only(stretches: Iterable["Stretch"], wanted: set[str] | None) -> Iterator["Stretch"]:
    return (stretch for stretch in stretches if wanted is None or stretch.name in wanted)


@lru_cache(maxsize=1)
def _load(saved: SavedModel) -> "TitansDNAClassifier":
    """Return a saved classifier; each process loads it once."""
    from titans_seq.domains.genomics.classifier import TitansDNAClassifier

    return TitansDNAClassifier.load(saved.folder)


def _score(model: SavedModel, label: int, windows: "RecordWindows") -> "WindowScores":
    """Return the scores of some windows, in whichever process."""
    from titans_seq.domains.genomics.scan import score_windows

    return score_windows(_load(model), label, windows)


def _resume(
    journal: Journal,
    windows: Iterable["RecordWindows"],
    apply: Callable[[Iterable["RecordWindows"]], Iterator["WindowScores"]],
) -> Iterator["WindowScores"]:
    """Yield the scores of windows in order: those that an earlier process left in the journal, then new ones."""
    from titans_seq.domains.genomics.scan import pack_scores, unpack_scores

    rest = iter(windows)
    for payload, part in zip(journal.restore(), islice(rest, journal.kept), strict=True):
        yield unpack_scores(payload, part)
    for scores in apply(rest):
        journal.append(pack_scores(scores))
        yield scores


def _count(scores: Iterator["WindowScores"], counts: Counter[str]) -> Iterator["WindowScores"]:
    """Yield the scores as they come; count records, windows, and windows that were not scored."""
    name = None
    for part in scores:
        counts["records"] += part.name != name
        name = part.name
        counts["windows"] += len(part.starts)
        counts["not_scored"] += int((part.forward != part.forward).sum())
        yield part
