"""`titans-seq classify`: from labelled sequences to a model and its scores, leaks told, compared and tracked."""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError
from titans_seq.files import digest, write_json, write_text
from titans_seq.pipelines.output import claim_folder, score_table
from titans_seq.pipelines.tracked import after_epoch, log_results, log_scores, log_training
from titans_seq.tracking import track

FILES = ("curves.png", "metrics.json", "predictions.csv", "model")


@dataclass(frozen=True, kw_only=True)
class Classify:
    """Fit a classifier of DNA, and compare it with composition alone and k-mer logistic regression."""

    data: Path | None = None
    """Table (columns sequence and label) or GenBank file that is split here, or a folder of train, dev and test
    tables; none means coding against other windows of a chloroplast genome."""
    variant: str = "lmm"
    """Backbone."""
    strand: str = "both"
    """`both`: a sequence and its reverse complement are the same; `given`: the direction counts."""
    feature: str = "CDS"
    """GenBank: windows in features of this type against those outside."""
    window: int = 300
    """GenBank: letters of a window."""
    stride: int = 100
    """GenBank: letters from one window to the next."""
    test_fraction: float = 0.2
    """Share of a single file that is held back to compare the models; half as much decides when to stop."""
    max_epochs: int = 8
    """Passes over the training data at the most."""
    max_minutes: float | None = None
    """Training time at the most."""
    balanced: bool = False
    """Weigh classes by how rare they are."""
    seed: int = 0
    """Of splits, weights, dropout and batch order."""
    output: Path = Path("runs/classify")
    """Folder for the results."""
    force: bool = False
    """Overwrite earlier results in the output folder."""
    tracking_uri: str | None = None
    """MLflow server or database; a file mlflow.db here if not given, `off` for none."""
    json: bool = False
    """Print the metrics as JSON on standard output instead of tables."""

    def run(self) -> dict[str, Any]:
        """Do it; returns what metrics.json holds."""
        return run_classify(self)


def run_classify(options: Classify) -> dict[str, Any]:
    """Read, report leaks, fit, evaluate, write and track.

    Raises:
        DataError: wrong input; nothing has been written then.
        KeyboardInterrupt: Ctrl-C; the best model so far stands in `OUTPUT/model`.
    """
    import numpy as np
    import pandas as pd

    from titans_seq.domains.genomics.alphabet import LETTERS
    from titans_seq.domains.genomics.baselines import composition_floor, word_regression
    from titans_seq.domains.genomics.classifier import TitansDNAClassifier
    from titans_seq.domains.genomics.encoder import padded
    from titans_seq.domains.genomics.metrics import Scores
    from titans_seq.domains.genomics.plots import plot_curves
    from titans_seq.domains.genomics.splits import EMBEDDED, load_splits

    if not 0 < options.test_fraction <= 0.5:
        raise DataError(f"test-fraction must lie above 0 and be at most 0.5, not {options.test_fraction}")
    model = TitansDNAClassifier(
        options.variant,
        options.strand,
        max_epochs=options.max_epochs,
        max_minutes=options.max_minutes,
        class_weight="balanced" if options.balanced else None,
        random_state=options.seed,
        verbose=sys.stderr.isatty(),
    )
    model.check(2)
    source = options.data or EMBEDDED
    splits = load_splits(
        source, options.seed % 2**32, options.test_fraction, options.feature, options.window, options.stride
    )
    claim_folder(options.output, FILES, options.force)
    parts = {"train": splits.train, "dev": splits.dev, "test": splits.test}
    parameters = {k: v for k, v in model.get_params().items() if k != "verbose"} | {
        "data": source.name,
        "data_digest": digest(source),
        "test_fraction": options.test_fraction,
        "feature": options.feature,
        "cut_window": options.window,
        "cut_stride": options.stride,
    }
    with track(options.tracking_uri, "classify", source.stem, parameters) as run:
        if not options.json:
            _leak_table(source.name, splits.leaks, splits.removed)
        letters = [LETTERS[row].tobytes().decode() for row in splits.train.rows]
        run.data(pd.DataFrame({"sequence": letters, "label": splits.train.labels}), source.name)
        folder = options.output / "model"
        train, dev, test = ((padded(part.rows), part.labels) for part in parts.values())
        model.fit(*train, validation=dev, on_epoch=after_epoch(run, folder))
        model.save(folder)
        probabilities = {"titans": model.predict_proba(test[0])}
        seconds = {"titans": model.history_.seconds}
        both = [*splits.train.rows, *splits.dev.rows], np.concatenate([train[1], dev[1]])
        choosing = np.arange(len(both[1])) >= len(splits.train)
        baselines = {
            "k-mer regression": (word_regression(choosing), both),
            "composition": (composition_floor(), (splits.train.rows, train[1])),
        }
        for name, (baseline, (rows, labels)) in baselines.items():
            started = time.perf_counter()
            baseline.fit(padded(rows), labels)
            probabilities[name] = baseline.predict_proba(test[0])
            seconds[name] = time.perf_counter() - started
        scores = {name: Scores.of(test[1], shares, model.classes_) for name, shares in probabilities.items()}
        metrics: dict[str, Any] = {
            "data": source.name,
            "classes": model.classes_.tolist(),
            "sequences": {name: len(part) for name, part in parts.items()},
            "leaks": splits.leaks.summary() | {"removed_from_train": splits.removed},
            "models": {m: asdict(s) | {"seconds": round(seconds[m], 1)} for m, s in scores.items()},
            "k_mer": baselines["k-mer regression"][0].best_params_,
            "strand": options.strand,
            "seed": options.seed,
        }
        predictions = pd.DataFrame({"name": splits.test.names, "label": test[1], "predicted": model.predict(test[0])})
        for k, label in enumerate(model.classes_):
            predictions[f"p_{label}"] = probabilities["titans"][:, k]
        write_text(options.output / "predictions.csv", predictions.to_csv(index=False))
        title = f"{source.name}: {len(splits.test)} test sequences, {options.variant}"
        plot_curves(options.output / "curves.png", test[1], probabilities, model.classes_, title)
        write_json(options.output / "metrics.json", metrics)
        log_training(run, model.history_)
        run.metrics({f"{name}_sequences": len(part) for name, part in parts.items()})
        log_scores(run, {name: asdict(values) for name, values in scores.items()})
        log_results(run, options.output, FILES)
    if not options.json:
        score_table(
            f"{source.name}: {len(splits.test)} test sequences",
            metrics["models"],
            f"{', '.join(FILES[:-1])} and the model are in {options.output}",
            highest=True,
        )
    return metrics


def _leak_table(name: str, leaks: Any, removed: int) -> None:
    from titans_seq.pipelines.output import plain_table

    rows = {
        pair: {
            "exact": str(leaks.exact[pair]),
            "reverse complement": str(leaks.turned[pair]),
            "overlapping by half": str(leaks.overlapping[pair]),
            "of": str(leaks.sizes[pair.split()[0]]),
        }
        for pair in leaks.exact
    }
    repeated = ", ".join(f"{count} in {part}" for part, count in leaks.repeated.items())
    plain_table(
        f"{name}: sequences known from another split ({removed} left out of train; repeated within: {repeated}; "
        f"{leaks.conflicting} with more than one class)",
        rows,
    )
