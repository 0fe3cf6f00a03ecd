"""`python -m benchmarks genomics`: Titans on public DNA sets beside floors, baselines and its own parts taken away.

All of the estimator's parameters are its defaults, on every set: it chooses how to read on dev. GUE sets are used as
published: train trains, dev decides when to stop, test is scored once. What of test stands in train too is counted, not
removed. Of the Cohn enhancers the test file alone is at hand: 948 of its sequences only train; the other 6,000 are
scored in five folds, shuffled by the seed; a tenth of what trains decides when to stop. All networks are trained by the
same loop, for the same epochs, on the same sequences. The memory runs with all seeds, and so does nothing in its place
where the split is published; all else runs with the first one.
"""

import math
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from benchmarks.figure import Figure
from benchmarks.ledger import Ledger
from benchmarks.options import BenchmarkOptions, check_options
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table
from titans_seq.spread import format_spread, mean_and_spread

NAME = "genomics"
FOLDS = 5
SET_ASIDE = 948
"""Sequences of the Cohn set on which settings were chosen."""


TASKS = {
    "promoter-300-tata": "gue-promoter-300-tata",
    "core-promoter-all": "gue-core-promoter-all",
    "enhancers-cohn": "human-enhancers-cohn-test",
}

"""Data sets, as `titans-seq data list` shows them."""

MODELS = {
    "titans (lmm)": {"variant": "lmm"},
    "attention": {"variant": "attention"},
    "convolution only": {"variant": "convolution"},
    "no mixer": {"variant": "none"},
}
"""Networks that differ in what mixes the tokens."""

CNN, WORDS, COMPOSITION = "small CNN", "k-mer regression", "composition"


@dataclass(frozen=True, kw_only=True)
class Genomics(BenchmarkOptions):
    """Test MCC on GUE promoters and by cross-validation on Cohn enhancers, several seeds, in one run."""

    tasks: tuple[Literal["promoter-300-tata", "core-promoter-all", "enhancers-cohn"], ...] = (
        "promoter-300-tata",
        "core-promoter-all",
        "enhancers-cohn",
    )
    """Data sets."""
    sequences: int | None = None
    """Sequences of each part at the most, for a trial; none means all."""
    max_epochs: int | None = None
    """Passes over the training data at the most; none means the estimator's default."""
    ablation: bool = False
    """Run attention and a convolution in the place of the memory too; of a set in folds also no mixer and the CNN."""
    ensemble: int = 1
    """Networks whose logits are averaged, of every kind; their seeds are those of no other run."""
    cnn_learning_rate: float = 1e-3
    """Peak rate of the small CNN, as in its paper."""
    seeds: int = 3
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(
            self, "seeds", "ensemble", *(n for n in ("sequences", "max_epochs") if getattr(self, n) is not None)
        )
        if not self.tasks:
            raise DataError("tasks must name at least one data set")
        parts = {name: load(TASKS[name]) for name in self.tasks}
        own: dict[str, Any] = {name: TASKS[name] for name in self.tasks}
        settings: dict[str, Any] = {"sequences": self.sequences, "max_epochs": self.max_epochs}
        name = NAME if self.ensemble == 1 else f"{NAME}-ensemble-{self.ensemble}"
        settings |= {} if self.ensemble == 1 else {"ensemble": self.ensemble}
        settings |= {"cnn_learning_rate": self.cnn_learning_rate, **own}
        ledger = Ledger(self.output, name, settings)
        rows = []
        for seed in range(self.seed, self.seed + self.seeds):
            for task in self.tasks:
                for fold, pieces in enumerate(cut(parts[task], seed, self.sequences)):
                    for model in self.models(seed, crossed="all" in parts[task]):
                        key = {"task": task, "fold": fold, "model": model, "seed": seed}
                        row = ledger.find(**key) or ledger.add({**key, **self.once(model, seed, pieces)})
                        rows.append(row)
                        if not self.json:
                            print(f"{task}, fold {fold}, {model}, seed {seed}: {row['mcc']:.4f}", file=sys.stderr)
        ledger.rows = rows
        result = ledger.finish(
            leaks={name: leaks(part) for name, part in parts.items() if "dev" in part},
            summary=summary(rows),
            minutes_of_a_seed={
                str(s): round(sum(r["seconds"] for r in rows if r["seed"] == s) / 60, 1)
                for s in sorted({r["seed"] for r in rows})
            },
        )
        if not self.json:
            models = list(dict.fromkeys(row["model"] for row in rows))
            cells = {
                model: {
                    task: f"{100 * of[model]['mcc']:.2f}"
                    + (f" ± {100 * of[model]['mcc_spread']:.2f}" if of[model]["seeds"] > 1 else "")
                    for task, of in result["summary"].items()
                    if model in of
                }
                for model in models
            }
            plain_table(f"MCC in percent, {self.seeds} seeds, mean and standard deviation", cells)
        return result

    def models(self, seed: int, crossed: bool) -> list[str]:
        """Return what is run with a seed, see the top of this file."""
        own, *middle, none = MODELS
        if seed != self.seed:
            return [own] if crossed else [own, none]
        more = [*middle, none, CNN] if self.ablation else [] if crossed else [none, CNN]
        return [own, *more, WORDS, COMPOSITION]

    def once(self, model: str, seed: int, pieces: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
        """Train and judge one model."""
        import numpy as np

        from titans_seq.domains.genomics.classifier import TitansDNAClassifier
        from titans_seq.domains.genomics.metrics import ClassificationScores

        started = time.perf_counter()
        (train, y), (dev, y_dev), (test, y_test) = (pieces[name] for name in ("train", "dev", "test"))
        settings = {} if self.max_epochs is None else {"max_epochs": self.max_epochs}
        estimator = TitansDNAClassifier(
            ensemble=self.ensemble, random_state=seed * self.ensemble, verbose=sys.stderr.isatty(), **settings
        )
        more: dict[str, Any] = {}
        if model in MODELS:
            fitted = estimator.set_params(**MODELS[model]).fit(train, y, validation=(dev, y_dev))
            shares, more = fitted.predict_proba(test), _training(fitted.network_, fitted.history_)
            more |= {"reading": fitted.reading_.model_dump()}
        elif model == CNN:
            shares, more = self.cnn(estimator, pieces)
        else:
            shares = _regression(model, pieces)
        scores = ClassificationScores.from_probabilities(y_test, shares, np.unique(y))
        return {**asdict(scores), **more, "test": len(y_test), "seconds": time.perf_counter() - started}

    def cnn(self, estimator: Any, pieces: dict[str, tuple[Any, Any]]) -> tuple[Any, dict[str, Any]]:
        """Train small CNNs as the estimator; return probabilities of the test sequences, and what happened to one."""
        import numpy as np
        from scipy.special import softmax

        from titans_seq.domains.genomics.baselines import SmallCNN
        from titans_seq.domains.genomics.encoder import encode_sequences
        from titans_seq.domains.genomics.fitting import Examples, fit_network, predict_logits
        from titans_seq.training import TrainingConfig, temporary_seed

        rows = {name: encode_sequences(codes) for name, (codes, _) in pieces.items()}
        known = np.unique(pieces["train"][1])
        examples = [Examples(rows[n], np.searchsorted(known, pieces[n][1])) for n in ("train", "dev")]
        longest = max(len(row) for part in rows.values() for row in part)
        estimator.set_params(learning_rate=self.cnn_learning_rate, weight_decay=0.0)
        logits = []
        for seed in range(estimator.random_state, estimator.random_state + self.ensemble):
            with temporary_seed(seed):
                network = SmallCNN(longest, len(known))
            config = replace(estimator.configure(TrainingConfig), random_state=seed)
            history = fit_network(network, examples[0], examples[1], config)
            logits.append(predict_logits(network, rows["test"]).astype(np.float64))
        return softmax(np.mean(logits, 0), axis=1), _training(network, history)


def load(dataset: str) -> dict[str, tuple[Any, Any]]:
    """Return codes and labels by part: "train", "dev" and "test", or "all" of a single file.

    Raises:
        DataError: the data is not here and cannot be downloaded.
    """
    import numpy as np

    from titans_seq.datasets import fetch
    from titans_seq.domains.genomics.datasets import DATASETS
    from titans_seq.domains.genomics.encoder import SequenceEncoder
    from titans_seq.domains.genomics.labelled import read_labelled

    path = fetch(dataset, DATASETS)
    files = {"all": path} if path.is_file() else {name: path / f"{name}.csv" for name in ("train", "dev", "test")}
    found = {name: read_labelled(file) for name, file in files.items()}
    return {name: (SequenceEncoder().transform(r.sequences), np.array(r.labels)) for name, r in found.items()}


def cut(parts: dict[str, tuple[Any, Any]], seed: int, most: int | None) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Yield the published split, or five of one's own; "train", "dev" and "test", of `most` sequences each."""
    import numpy as np
    from sklearn.model_selection import StratifiedKFold, train_test_split

    if "all" not in parts:
        yield {name: (codes[:most], labels[:most]) for name, (codes, labels) in parts.items()}
        return
    codes, labels = parts["all"]
    scored, aside = train_test_split(np.arange(len(labels)), test_size=SET_ASIDE, random_state=0, stratify=labels)
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(scored, labels[scored]):
        known = np.concatenate([scored[train], aside])
        first, second = train_test_split(known, test_size=0.1, random_state=seed, stratify=labels[known])
        pieces = {"train": first[:most], "dev": second[:most], "test": scored[test][:most]}
        yield {name: (codes[index], labels[index]) for name, index in pieces.items()}


def leaks(parts: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Return what the published splits share."""
    from titans_seq.domains.genomics.encoder import encode_sequences
    from titans_seq.domains.genomics.leaks import find_leaks

    return find_leaks({name: (encode_sequences(codes), labels) for name, (codes, labels) in parts.items()}).summary()


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by task and model, the mean over folds, then mean and spread over seeds, of every score."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for task, model in dict.fromkeys((row["task"], row["model"]) for row in rows):
        own = [row for row in rows if (row["task"], row["model"]) == (task, model)]
        seeds = sorted({row["seed"] for row in own})
        values: dict[str, float] = {}
        for score in ("mcc", "accuracy", "auroc", "auprc", "seconds"):
            means = [statistics.fmean(row[score] for row in own if row["seed"] == seed) for seed in seeds]
            values[score], values[f"{score}_spread"] = mean_and_spread(means)
        found.setdefault(task, {})[model] = values | {"seeds": len(seeds)}
    return found


def _training(network: Any, history: Any) -> dict[str, Any]:
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "kept_epoch": history.best_epoch + 1,
        "validation_loss": history.validation_loss,
    }


def _regression(model: str, pieces: dict[str, tuple[Any, Any]]) -> Any:
    """Return probabilities of a baseline that needs no network; dev chooses, and trains, where there is a choice."""
    import numpy as np

    from titans_seq.domains.genomics.baselines import composition_floor, kmer_regression
    from titans_seq.domains.genomics.encoder import encode_sequences, pad_rows

    (train, y), (dev, y_dev), (test, _) = (pieces[name] for name in ("train", "dev", "test"))
    codes, labels = pad_rows([*encode_sequences(train), *encode_sequences(dev)]), np.concatenate([y, y_dev])
    if model == COMPOSITION:
        return composition_floor().fit(codes, labels).predict_proba(test)
    return kmer_regression(np.arange(len(labels)) >= len(y)).fit(codes, labels).predict_proba(test)


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    rows, size = [], result["settings"].get("ensemble", 1)
    what = "" if size == 1 else f", {size} networks each"
    for task, models in result["summary"].items():
        cells = {name: format_spread(of["mcc"], of["mcc_spread"] or math.nan) for name, of in models.items()}
        own, *others = cells
        beside = ", ".join(f"{name} {cells[name]}" for name in others)
        rows.append(Figure(f"{task}, test MCC, {models[own]['seeds']} seeds{what}", f"{own} {cells[own]}", beside))
    return rows
