"""Training and test of classifiers of DNA, for `titans-seq classify` and for the trials of a sweep."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.domains.genomics.cuts import Cuts
from titans_seq.domains.task import OnEpoch, Report, StartOptions, Task
from titans_seq.files import digest, write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions(Cuts, StartOptions):
    """Which sequences to read, and how to cut and split them."""

    data: Path | None = None
    """Table (columns sequence and label), GenBank, BED or GFF3 file that is split here, or a folder of train, dev and
    test tables; none means coding against other windows of a chloroplast genome."""
    test_fraction: float = 0.2
    """Share of a single file that is held back to compare the models; half as much decides when to stop."""
    test_contigs: tuple[str, ...] = ()
    """Contigs that are held back instead of a share; several are separated by blanks."""


class ClassificationTask(Task):
    """Labelled sequences in three parts; those of train that are known from the others are left out."""

    Options = ClassificationOptions
    files = ("curves.png", "predictions.csv")

    def read(self, options: ClassificationOptions) -> None:
        """Read and split the data."""
        import pandas as pd

        from titans_seq.domains.genomics.alphabet import decode
        from titans_seq.domains.genomics.splits import EMBEDDED, load_splits

        source = options.data or EMBEDDED
        seed = options.seed % 2**32
        self.splits = load_splits(source, seed, options.test_fraction, options, options.test_contigs)
        self.name, self.digest = source.name, digest(source)
        letters = [decode(row) for row in self.splits.train.rows]
        self.frame = pd.DataFrame({"sequence": letters, "label": self.splits.train.labels})

    @classmethod
    def estimator(cls) -> Any:
        """Return TitansDNAClassifier."""
        from titans_seq.domains.genomics.classifier import TitansDNAClassifier

        return TitansDNAClassifier

    def check(self, model: Any) -> None:
        """Raise DataError if a parameter cannot be used."""
        model.check(len(set(self.splits.train.labels.tolist())))

    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        """Fit a classifier to train; dev decides when to stop."""
        model.fit(*self.part("train"), validation=self.part("dev"), on_epoch=on_epoch)

    def part(self, name: str) -> "tuple[NDArray[np.uint8], NDArray[np.str_]]":
        """Return codes and labels of train, dev or test."""
        from titans_seq.domains.genomics.encoder import pad_rows

        part = getattr(self.splits, name)
        return pad_rows(part.rows), part.labels

    def test(self, model: Any) -> dict[str, float]:
        """Return the scores on test."""
        from titans_seq.domains.genomics.metrics import ClassificationScores

        codes, labels = self.part("test")
        return asdict(ClassificationScores.from_probabilities(labels, model.predict_proba(codes), model.classes_))

    def describe(self) -> dict[str, Any]:
        """Return name and digest of the data, and how they were cut."""
        return super().describe() | {
            "test_fraction": self.options.test_fraction,
            "feature": self.options.feature,
            "cut_window": self.options.window,
            "cut_stride": self.options.stride,
            "genome": self.options.genome and self.options.genome.name,
            "negatives": self.options.negatives,
        }

    def sizes(self) -> dict[str, float]:
        """Return the sequences of each split."""
        return {f"{name}_sequences": float(len(getattr(self.splits, name))) for name in ("train", "dev", "test")}

    def overview(self) -> list[tuple[str, Mapping[str, Mapping[str, str]]]]:
        """Return a table of the sequences that are known from another split."""
        leaks, removed = self.splits.leaks, self.splits.removed
        rows = {
            pair: {
                "exact": str(leaks.exact[pair]),
                "reverse complement": str(leaks.reverse_complement[pair]),
                "overlapping by half": str(leaks.overlapping[pair]),
                "nearly the same": str(leaks.near[pair]),
                "of": str(leaks.sizes[pair.split()[0]]),
            }
            for pair in leaks.exact
        }
        repeated = ", ".join(f"{count} in {part}" for part, count in leaks.repeated.items())
        title = (
            f"{self.name}: sequences known from another split ({removed} left out of train; repeated within: "
            f"{repeated}; {leaks.conflicting} with more than one class)"
        )
        return [(title, rows)]

    def report(self, model: Any, folder: Path) -> Report:
        """Compare with k-mer regression and composition alone; write curves.png and predictions.csv."""
        import pandas as pd

        from titans_seq.domains.genomics.metrics import ClassificationScores
        from titans_seq.domains.genomics.plots import plot_curves
        from titans_seq.domains.genomics.predictor import prediction_columns

        codes, labels = self.part("test")
        own = model.predict_proba(codes)
        baselines, kmer_choice = self._baselines(codes)
        models = {"titans": (own, model.history_.seconds)} | baselines
        title = f"{self.name}: {len(labels)} test sequences"
        predictions = pd.DataFrame({"name": self.splits.test.names, "label": labels})
        predictions = predictions.join(prediction_columns(model.classes_, own))
        write_text(folder / "predictions.csv", predictions.to_csv(index=False))
        probabilities = {name: shares for name, (shares, _) in models.items()}
        plot_curves(folder / "curves.png", labels, probabilities, model.classes_, f"{title}, {model.variant}")
        scores = {
            name: asdict(ClassificationScores.from_probabilities(labels, shares, model.classes_))
            | {"seconds": round(seconds, 1)}
            for name, (shares, seconds) in models.items()
        }
        details = {
            "classes": model.classes_.tolist(),
            "sequences": {name: len(getattr(self.splits, name)) for name in ("train", "dev", "test")},
            "leaks": self.splits.leaks.summary() | {"removed_from_train": self.splits.removed},
            "k_mer": kmer_choice,
            **model.reading_.model_dump(),
        }
        return Report(title=title, scores=scores, higher_is_better=True, details=details)

    def _baselines(self, codes: "NDArray[np.uint8]") -> "tuple[dict[str, tuple[Any, float]], dict[str, Any]]":
        """Return probabilities of codes and seconds by model, and the length and penalty that the k-mers chose."""
        import numpy as np

        from titans_seq.domains.genomics.baselines import composition_floor, kmer_regression
        from titans_seq.domains.genomics.encoder import pad_rows

        train, dev = self.splits.train, self.splits.dev
        both = [*train.rows, *dev.rows], np.concatenate([train.labels, dev.labels])
        regression = kmer_regression(np.arange(len(both[1])) >= len(train))
        results = {}
        for name, baseline, (rows, labels) in (
            ("k-mer regression", regression, both),
            ("composition", composition_floor(), (train.rows, train.labels)),
        ):
            started = time.perf_counter()
            baseline.fit(pad_rows(rows), labels)
            results[name] = baseline.predict_proba(codes), time.perf_counter() - started
        return results, regression.best_params_
