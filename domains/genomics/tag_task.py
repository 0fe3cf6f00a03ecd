"""Training and test of taggers of DNA, for `titans-seq tag` and for the trials of a sweep. Axes: L letters."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.domains.task import OnEpoch, Report, Task, TaskOptions
from titans_seq.errors import DataError
from titans_seq.files import digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHOWN = 12_000
"""Letters of the test part that the picture shows."""


@dataclass(frozen=True, kw_only=True)
class TaggingOptions(TaskOptions):
    """Which annotated genome to read, and what of it to tell."""

    data: Path | None = None
    """GenBank file, or GFF3 file beside a genome; none means a chloroplast genome."""
    genome: Path | None = None
    """FASTA file, plain or BGZF, that a GFF3 file describes."""
    feature: str = "CDS"
    """Features of this type against all else."""
    frames: bool = False
    """Tell the place in the codon too: 1 to 3 on this strand, -1 to -3 on the other, 0 outside; needs strand=given."""
    test_contigs: tuple[str, ...] = ()
    """Contigs that are held back instead of the last share of each; several are separated by blanks."""
    test_fraction: float = 0.2
    """Share of each contig, at its end, that is held back to compare the models."""


class TaggingTask(Task):
    """An annotated genome: most of it trains, the end of each contig, or whole contigs, are held back."""

    Options = TaggingOptions
    files = ("track.png",)

    def read(self, options: TaggingOptions) -> None:
        """Read the genome and its features, and split it."""
        import pandas as pd

        from titans_seq.domains.genomics.annotations import read_genbank, read_gff3
        from titans_seq.domains.genomics.genome import Genome
        from titans_seq.domains.genomics.records import GENBANK, GFF3, sequence_suffix
        from titans_seq.domains.genomics.splits import EMBEDDED

        source = options.data or EMBEDDED
        if sequence_suffix(source, GENBANK + GFF3) in GFF3:
            if options.genome is None:
                raise DataError(f"{source} needs the genome that it describes: give a FASTA file as genome")
            with Genome(options.genome) as genome:
                self._take(list(read_gff3(source, genome)), source)
        else:
            self._take(list(read_genbank(source)), source)
        self.name, self.digest = source.name, digest(source)
        rows = [{"contig": name, "letters": len(codes)} for name, codes in zip(self.names, self.train[0], strict=True)]
        self.frame = pd.DataFrame(rows)

    def _take(self, contigs: list[Any], source: Path) -> None:
        """Set the letters and classes that train, and those that test."""
        import numpy as np

        options = self.options
        kinds = {f.kind for c in contigs for f in c.features}
        if options.feature not in kinds:
            raise DataError(f"{source} has no feature {options.feature!r}; it has {', '.join(sorted(kinds)) or 'none'}")
        unknown = set(options.test_contigs) - {c.name for c in contigs}
        if unknown:
            raise DataError(f"{source} has no contigs {', '.join(sorted(unknown))} that should be test")
        self.names: list[str] = []
        self.train: tuple[list[NDArray[np.uint8]], list[NDArray[Any]]] = ([], [])
        self.held: tuple[list[NDArray[np.uint8]], list[NDArray[Any]]] = ([], [])
        inside = np.array([f"no {options.feature}", options.feature])
        for contig in contigs:
            codes = contig.fetch(0, contig.length)
            frames = contig.frames(options.feature)
            labels = frames.astype(int) if options.frames else inside[(frames != 0).astype(int)]
            cut = contig.length - round(options.test_fraction * contig.length)
            if options.test_contigs:
                cut = 0 if contig.name in options.test_contigs else contig.length
            if cut:
                self.names.append(contig.name)
                self.train[0].append(codes[:cut])
                self.train[1].append(labels[:cut])
            if cut < contig.length:
                self.held[0].append(codes[cut:])
                self.held[1].append(labels[cut:])
        if not self.train[0] or not self.held[0]:
            raise DataError(f"{source}: contigs are needed both to train and to test")

    @classmethod
    def estimator(cls) -> Any:
        """Return TitansDNATagger."""
        from titans_seq.domains.genomics.tagger import TitansDNATagger

        return TitansDNATagger

    def check(self, model: Any) -> None:
        """Raise DataError if a parameter cannot be used."""
        model.check(7 if self.options.frames else 2)
        if self.options.frames and model.strand != "given":
            raise DataError("frames have a direction: they need strand given")

    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        """Fit a tagger to what trains; the end of it decides when to stop."""
        from titans_seq.domains.genomics.alphabet import decode

        model.fit([decode(codes) for codes in self.train[0]], self.train[1], on_epoch)

    def test(self, model: Any) -> dict[str, float]:
        """Return the scores on the letters that are held back."""
        return self._scores(self._tell(model), model.classes_)

    def describe(self) -> dict[str, Any]:
        """Return name and digest of the data, and what is told of them."""
        return super().describe() | {"feature": self.options.feature, "frames": self.options.frames}

    def sizes(self) -> dict[str, float]:
        """Return the letters of each part."""
        return {
            "train_letters": float(sum(map(len, self.train[0]))),
            "test_letters": float(sum(map(len, self.held[0]))),
        }

    def report(self, model: Any, folder: Path) -> Report:
        """Compare with open reading frames and with the most frequent class; write track.png."""
        import numpy as np

        from titans_seq.domains.genomics.plots import plot_track

        own = self._tell(model)
        truth = np.concatenate(self.held[1])
        is_inside, known = (truth != 0 if self.options.frames else truth == self.options.feature), model.classes_
        outside = list(known).index(0 if self.options.frames else f"no {self.options.feature}")
        shares, letters = 1 - own[:, outside], int(sum(map(len, self.held[0])))
        title = f"{self.name}: {letters:,} test letters"
        plot_track(folder / "track.png", is_inside[:SHOWN], shares[:SHOWN], self.options.feature, f"{title}, the first")
        scores = {"titans": self._scores(own, known) | {"seconds": round(model.history_.seconds, 1)}}
        if not self.options.frames:
            scores |= self._baselines(known)
        return Report(title=title, scores=scores, higher_is_better=True, details={"classes": known.tolist()})

    def _tell(self, model: Any) -> "NDArray[np.float32]":
        import numpy as np

        from titans_seq.domains.genomics.alphabet import decode

        return np.concatenate(model.predict_proba([decode(codes) for codes in self.held[0]]))

    def _scores(self, shares: "NDArray[Any]", classes: "NDArray[Any]") -> dict[str, float]:
        import numpy as np

        from titans_seq.domains.genomics.metrics import ClassificationScores

        return asdict(ClassificationScores.from_probabilities(np.concatenate(self.held[1]), shares, classes))

    def _baselines(self, classes: "NDArray[Any]") -> Mapping[str, dict[str, float]]:
        """Return the scores of open reading frames, their length chosen on train, and of the most frequent class."""
        import numpy as np
        from sklearn.metrics import matthews_corrcoef

        from titans_seq.domains.genomics.orfs import LENGTHS, open_lengths

        began = time.perf_counter()
        place = list(classes).index(self.options.feature)
        known = np.concatenate(self.train[1]) == self.options.feature
        seen, asked = (np.concatenate([open_lengths(c) for c in part]) for part in (self.train[0], self.held[0]))
        least = max(LENGTHS, key=lambda size: float(matthews_corrcoef(known, seen >= size)))
        found = {}
        for name, inside in (
            (f"open reading frames of {least}", asked >= least),
            ("most frequent class", np.full(len(asked), known.mean() >= 0.5)),
        ):
            shares = np.empty((len(asked), 2))
            shares[:, place], shares[:, 1 - place] = inside, ~inside
            found[name] = self._scores(shares, classes) | {"seconds": round(time.perf_counter() - began, 1)}
        return found
