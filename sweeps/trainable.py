"""What trials train: a domain's estimator on its data, or any estimator of scikit-learn's kind on what `fit` takes."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline

from titans_seq.domains.task import Task
from titans_seq.errors import DataError, reason
from titans_seq.pipelines.log import fit_and_log, log_training, run_parameters
from titans_seq.sweeps.objectives import Objective, titans_step
from titans_seq.tracking import Run

Report = Callable[[float], None]
"""Takes a validation loss, or the mean score so far, as they come; raises TrialPruned to give the trial up."""


class Trainable(ABC):
    """Parameters in, a trained model and the values of the objectives out."""

    objectives: tuple[Objective, ...]

    @abstractmethod
    def build(self, parameters: Mapping[str, Any]) -> Any:
        """Return an estimator with these parameters; raise DataError if they cannot be used."""

    @abstractmethod
    def describe(self, model: Any) -> dict[str, Any]:
        """Return what the tracked run of an estimator logs at its start."""

    @abstractmethod
    def train(self, run: Run, model: Any, report: Report) -> dict[str, Any]:
        """Train and judge an estimator; return values worth a column in the table of trials."""

    @abstractmethod
    def fit(self, model: Any) -> None:
        """Train an estimator once more, to keep."""

    def log_data(self, run: Run) -> None:
        """Log the data's digest, schema and size, as far as there are any."""
        return

    def values(self, model: Any, columns: Mapping[str, Any]) -> list[float]:
        """Return the values of the objectives, of a model or of what `train` returned."""
        return [float(columns[o.name]) if o.name in columns else float(o.measure(model)) for o in self.objectives]


@dataclass
class TaskTrainable(Trainable):
    """A domain's estimator on data from a file; its validation loss is reported after each epoch."""

    task: Task
    objectives: tuple[Objective, ...]

    def build(self, parameters: Mapping[str, Any]) -> Any:
        """Return the domain's estimator."""
        return self.task.build(parameters)

    def describe(self, model: Any) -> dict[str, Any]:
        """Return parameters and data."""
        return run_parameters(self.task, model)

    def log_data(self, run: Run) -> None:
        """Log the task's frame."""
        run.data(self.task.frame, self.task.name)

    def train(self, run: Run, model: Any, report: Report) -> dict[str, Any]:
        """Fit, and log losses as they come."""
        fit_and_log(run, self.task, model, after_epoch=lambda fitted: report(fitted.history_.validation_loss[-1]))
        return {}

    def fit(self, model: Any) -> None:
        """Fit to the same data."""
        self.task.fit(model)


@dataclass
class EstimatorTrainable(Trainable):
    """An estimator, or a pipeline that ends in one, on what its `fit` takes.

    Args:
        arguments: of `fit`, without names.
        splits: rows that train and rows that test; without any the validation loss of the last step is reported after
            each epoch, with them the mean score of the splits so far.
        scoring: as scikit-learn's `cross_validate` takes it.
    """

    estimator: Any
    arguments: tuple[Any, ...]
    objectives: tuple[Objective, ...]
    splits: list[tuple[Any, Any]] | None = None
    scoring: Any = None

    def build(self, parameters: Mapping[str, Any]) -> Any:
        """Return a copy of the estimator with other parameters."""
        known = self.estimator.get_params()
        for name in parameters:
            if name not in known:
                raise DataError(f"{type(self.estimator).__name__} has no parameter {name!r:.80}; see get_params()")
        return clone(self.estimator).set_params(**parameters)

    def describe(self, model: Any) -> dict[str, Any]:
        """Return the parameters that are plain values."""
        plain = {k: v for k, v in model.get_params().items() if v is None or isinstance(v, bool | int | float | str)}
        return {"estimator": type(model).__name__} | {k: v for k, v in plain.items() if not k.endswith("verbose")}

    def train(self, run: Run, model: Any, report: Report) -> dict[str, Any]:
        """Fit, or cross-validate."""
        if self.splits is not None:
            return self._cross_validate(run, model, report)

        def on_epoch(fitted: Any, is_best: bool) -> None:
            report(fitted.history_.validation_loss[-1])

        name = f"{model.steps[-1][0]}__on_epoch" if isinstance(model, Pipeline) else "on_epoch"
        try:
            model.fit(*self.arguments, **{name: on_epoch})
        finally:
            if hasattr(titans_step(model), "history_"):
                log_training(run, titans_step(model).history_)
        return {}

    def _cross_validate(self, run: Run, model: Any, report: Report) -> dict[str, Any]:
        scores: list[float] = []
        seconds = 0.0
        X, *rest = self.arguments
        for split in self.splits or ():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                found = cross_validate(model, X, *rest, scoring=self.scoring, cv=[split], error_score="raise")
            scores.append(float(found["test_score"][0]))
            seconds += float(found["fit_time"][0])
            if not math.isfinite(scores[-1]):
                raise DataError(f"the score of split {len(scores) - 1} is {scores[-1]}")
            run.metrics({"split_score": scores[-1]}, step=len(scores) - 1)
            if len(scores) < len(self.splits or ()):
                report(float(np.mean(scores)))
        run.metrics({"mean_score": float(np.mean(scores)), "fit_seconds": seconds})
        columns = {f"split{number}_score": score for number, score in enumerate(scores)}
        return {"score": float(np.mean(scores)), "std_score": float(np.std(scores)), "fit_seconds": seconds} | columns

    def fit(self, model: Any) -> None:
        """Fit to all data."""
        model.fit(*self.arguments)


def make_splits(cv: Any, estimator: Any, arguments: tuple[Any, ...], groups: Any) -> list[tuple[Any, Any]]:
    """Return the rows that train and those that test of each split, as scikit-learn draws them.

    Raises:
        DataError: the splitter cannot split these data.
    """
    from sklearn.base import is_classifier
    from sklearn.model_selection import check_cv

    X, y = (*arguments, None)[:2]
    try:
        splitter = check_cv(cv, y, classifier=is_classifier(estimator))
        return list(splitter.split(X, y, groups))
    except (TypeError, ValueError) as error:
        raise DataError(f"cv cannot split the data: {reason(error)}") from error
