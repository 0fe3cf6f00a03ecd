"""What a trial trains, per domain: data that is read once, an estimator, and a held-back part for the winner alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq import files
from titans_seq.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


OnEpoch = Callable[[Any, bool], object]
"""Called after each epoch with the model so far, and whether the epoch was the best."""


class Task(ABC):
    """One domain's data, read and split."""

    name: str
    """Of the data."""
    frame: pd.DataFrame
    """The data that trials train and validate on, for their digest and schema."""

    def model(self, parameters: Mapping[str, Any]) -> Any:
        """An estimator with these parameters, checked.

        Raises:
            DataError: there is no such parameter, or it cannot have that value.
        """
        kind = self.estimator()
        known = kind().get_params()
        for name in parameters:
            if name not in known:
                raise DataError(f"{kind.__name__} has no parameter {name!r}; it has {', '.join(sorted(known))}")
        model = kind(**parameters)
        self.check(model)
        return model

    @staticmethod
    @abstractmethod
    def estimator() -> Any:
        """The domain's estimator, imported when it is needed."""

    @abstractmethod
    def check(self, model: Any) -> None:
        """Raise DataError if the model's parameters cannot be used with these data."""

    @abstractmethod
    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        """Train; what validates is part of the training data."""

    @abstractmethod
    def test(self, model: Any) -> dict[str, float]:
        """Scores on the part that no trial has seen."""


class Forecasting(Task):
    """Forecasting: the last part of each series is held back."""

    def __init__(self, data: Path | None, test_fraction: float, seed: int, horizon: int) -> None:
        from titans_seq.domains.timeseries.panel import to_panel
        from titans_seq.domains.timeseries.table import EMBEDDED, read_table

        source = data or EMBEDDED
        self.name = source.name
        self.frame = read_table(source)
        self.horizon = horizon
        self.panel = to_panel(self.frame)
        self.training = self.panel.head(1 - test_fraction)

    def model(self, parameters: Mapping[str, Any]) -> Any:
        return super().model({"horizon": self.horizon} | dict(parameters))

    @staticmethod
    def estimator() -> Any:
        from titans_seq.domains.timeseries import TitansForecaster

        return TitansForecaster

    def check(self, model: Any) -> None:
        model.check()
        sizes = [(len(whole.index), len(part.index)) for whole, part in
                 zip(self.panel.series, self.training.series, strict=True)]  # fmt: skip
        if not any(whole - max(0, head - model.context) >= model.context + self.horizon for whole, head in sizes):
            longest = max(whole - head for whole, head in sizes)
            raise DataError(
                f"the held-back end has {longest} steps, the horizon {self.horizon}: hold back more by --test-fraction"
            )

    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        model.fit_panel(self.training, on_epoch)

    def test(self, model: Any) -> dict[str, float]:
        from titans_seq.domains.timeseries.evaluation import evaluate
        from titans_seq.domains.timeseries.prepare import tensors

        season = self.panel.season if self.panel.season < min(len(s.index) for s in self.training.series) else 1
        result = evaluate(
            {"titans": (model.network_, model.context)},
            tensors(self.panel),
            [len(s.index) for s in self.training.series],
            model.scaling_,
            self.horizon,
            season,
            self.panel.channels,
        )
        return asdict(result.scores["titans"])


class Classification(Task):
    """DNA: a test table, or a part of the one file, is held back; leaks are removed from the training part."""

    def __init__(self, data: Path | None, test_fraction: float, seed: int, horizon: int) -> None:
        import pandas as pd

        from titans_seq.domains.genomics.alphabet import LETTERS
        from titans_seq.domains.genomics.splits import EMBEDDED, load_splits

        source = data or EMBEDDED
        self.name = source.name
        self.splits = load_splits(source, seed % 2**32, test_fraction, feature="CDS", window=300, stride=100)
        letters = [LETTERS[row].tobytes().decode() for row in self.splits.train.rows]
        self.frame = pd.DataFrame({"sequence": letters, "label": self.splits.train.labels})

    @staticmethod
    def estimator() -> Any:
        from titans_seq.domains.genomics import TitansDNAClassifier

        return TitansDNAClassifier

    def check(self, model: Any) -> None:
        model.check(len(set(self.splits.train.labels.tolist())))

    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        from titans_seq.domains.genomics.encoder import padded

        train, dev = ((padded(part.rows), part.labels) for part in (self.splits.train, self.splits.dev))
        model.fit(*train, validation=dev, on_epoch=on_epoch)

    def test(self, model: Any) -> dict[str, float]:
        from titans_seq.domains.genomics.encoder import padded
        from titans_seq.domains.genomics.metrics import Scores

        test = self.splits.test
        return asdict(Scores.of(test.labels, model.predict_proba(padded(test.rows)), model.classes_))


class LanguageModelling(Task):
    """Language: the end of the text is held back."""

    def __init__(self, data: Path | None, test_fraction: float, seed: int, horizon: int) -> None:
        import pandas as pd

        from titans_seq.domains.language.text import EMBEDDED, embedded_text, read_text

        self.name = EMBEDDED if data is None else data.name
        text = embedded_text() if data is None else read_text(data)
        cut = len(text) - max(1, int(test_fraction * len(text)))
        self.train, self.held_back = text[:cut], text[cut:]
        self.frame = pd.DataFrame({"text": self.train.splitlines()})

    @staticmethod
    def estimator() -> Any:
        from titans_seq.domains.language import TitansLM

        return TitansLM

    def check(self, model: Any) -> None:
        model.check_text(self.train)

    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        model.fit(self.train, on_epoch=on_epoch)

    def test(self, model: Any) -> dict[str, float]:
        return {"bits_per_byte": model.bits_per_byte(self.held_back)}


TASKS: dict[str, type[Forecasting | Classification | LanguageModelling]] = {
    "timeseries": Forecasting,
    "genomics": Classification,
    "language": LanguageModelling,
}

MEASURE = (
    "calendar", "calibration_fraction", "class_weight", "future_covariates", "horizon",
    "label_smoothing", "loss", "quantiles", "random_state", "validation_fraction", "verbose", "vocabulary",
)  # fmt: skip
"""Parameters that change what the validation loss means; they can be set, not varied."""


def digest(data: Path | None) -> str:
    """SHA-256 of a file, or of all files of a folder; `embedded` for the data that come with the package."""
    return "embedded" if data is None else files.digest(data)
