"""What a command and each trial of a sweep do with data: read, split, fit, test."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from titans_seq.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

OnEpoch = Callable[[Any, bool], object]
"""Called after each epoch with the estimator, fitted so far, and whether the epoch was the best so far."""


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Which data to read, and how much to hold back.

    Each domain adds its own fields. They are options of its command too, so that each has a name, a default and a
    docstring in one place.
    """

    data: Path | None = None
    """File to read; none means the data that come with the package."""

    test_fraction: float = 0.2
    """Share of the data that is held back to test; nothing is fitted to it."""

    seed: int = 0
    """Seed of everything random: splits, initial weights, dropout, batches. In Python it is `random_state`."""

    def check(self) -> None:
        """Raise DataError if an option cannot be used; a command line is read before it is checked."""
        if not 0 < self.test_fraction <= 0.5:
            raise DataError(f"test-fraction must lie above 0 and be at most 0.5, not {self.test_fraction}")
        if self.seed < 0:
            raise DataError(f"seed must be at least 0, not {self.seed}")


@dataclass(frozen=True, kw_only=True)
class StartOptions(TaskOptions):
    """The same, for an estimator that has `warm_start`."""

    start: Path | None = None
    """Folder of a saved model to go on from; none trains from nothing."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How an estimator compares with simple methods on the held-back data."""

    title: str
    """What was tested, in a line."""
    scores: dict[str, dict[str, float]]
    """Model -> score -> value, `seconds` of fitting among them; the estimator stands first, as `titans`."""
    higher_is_better: bool = False
    """Whether high scores are good ones."""
    details: dict[str, Any] = field(default_factory=dict)
    """More for metrics.json, as plain values."""


class Task(ABC):
    """Data of one domain, read and split, and what is done with them.

    Args:
        options: which data, of the domain's own `Options`.

    Raises:
        DataError: the data or an option cannot be used.
    """

    Options: ClassVar[type[TaskOptions]] = TaskOptions
    """The domain's options."""
    files: ClassVar[tuple[str, ...]] = ()
    """Names of the files that `report` writes."""

    options: Any
    """Which data, of the domain's own `Options`."""
    name: str
    """Name of the data."""
    digest: str
    """SHA-256 of the data."""
    frame: "pd.DataFrame"
    """The data to train and validate on, for their schema and size in the tracking."""

    def __init__(self, options: TaskOptions) -> None:
        options.check()
        self.options = options
        self.read(options)

    @abstractmethod
    def read(self, options: Any) -> None:
        """Read and split the data: set `name`, `digest` and `frame`."""

    @classmethod
    @abstractmethod
    def estimator(cls) -> Any:
        """Return the domain's estimator class; it is imported when it is needed."""

    @abstractmethod
    def check(self, model: Any) -> None:
        """Raise DataError if the parameters of an estimator cannot be used with these data."""

    @abstractmethod
    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        """Fit an estimator; what validates is part of the training data."""

    @abstractmethod
    def test(self, model: Any) -> dict[str, float]:
        """Return the scores of a fitted estimator on the held-back data."""

    def build(self, parameters: Mapping[str, Any]) -> Any:
        """Return an estimator with these parameters, checked; it goes on from a saved one if one is named.

        Raises:
            DataError: there is no such parameter, or it cannot have that value.
        """
        kind = self.estimator()
        known = kind().get_params()
        for name in parameters:
            if name not in known:
                raise DataError(f"{kind.__name__} has no parameter {name!r}; it has {', '.join(sorted(known))}")
        if isinstance(self.options, StartOptions) and self.options.start is not None:
            model = kind.load(self.options.start).set_params(**{**parameters, "warm_start": True})
        else:
            model = kind(**parameters)
        self.check(model)
        return model

    def describe(self) -> dict[str, Any]:
        """Return what a tracked run logs about the data, beside the estimator's parameters."""
        return {"data": self.name, "data_digest": self.digest}

    def sizes(self) -> dict[str, float]:
        """Return what a tracked run logs as metrics about the data: sizes that a seed may change."""
        return {}

    def overview(self) -> list[tuple[str, Mapping[str, Mapping[str, str]]]]:
        """Return tables that a user should see before anything is trained: a title, and named rows of cells each."""
        return []

    def report(self, model: Any, folder: Path) -> Report:
        """Test a fitted estimator beside simple methods, and write `files` into a folder.

        The default tests the estimator alone. A domain may fit the estimator to the held-back end of the data, if that
        is known by then, as a forecast wants it; `fit` is never called again.
        """
        scores = self.test(model) | {"seconds": model.history_.seconds}
        return Report(title=f"{self.name}: held-back data", scores={"titans": scores})
