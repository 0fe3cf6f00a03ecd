"""What a trial is judged by: values of a fitted estimator, each to be as low, or as high, as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.pipeline import Pipeline

from titans_seq.backbone import TitansBackbone
from titans_seq.errors import DataError
from titans_seq.estimator import TitansEstimator

LOSS = "val_loss"
"""The objective that is searched by if none is named."""
SCORE = "score"
"""The objective of a cross-validation: the mean score over its splits."""


@dataclass(frozen=True)
class Objective:
    """One value of a fitted estimator."""

    name: str
    """Its column in tables of trials."""
    measure: Callable[[Any], float]
    """Takes the fitted estimator."""
    maximize: bool = False
    """Whether high values are good ones."""

    @property
    def direction(self) -> str:
        """`minimize` or `maximize`, as Optuna has it."""
        return "maximize" if self.maximize else "minimize"


def titans_step(model: Any) -> Any:
    """Return the last step of a pipeline, or the estimator itself."""
    return model[-1] if isinstance(model, Pipeline) else model


def state_bytes(model: Any) -> float:
    """Return the bytes of what the backbones of a fitted estimator keep of one sequence that they read."""
    backbones = [m for m in titans_step(model).network_.modules() if isinstance(m, TitansBackbone)]
    return float(sum(backbone.initial_state(1).nbytes for backbone in backbones))


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective(LOSS, lambda model: titans_step(model).history_.lowest),
        Objective("seconds", lambda model: titans_step(model).history_.seconds),
        Objective("n_parameters", lambda m: float(sum(p.numel() for p in titans_step(m).network_.parameters()))),
        Objective("state_bytes", state_bytes),
    )
}
"""Objectives by name: the lowest validation loss, seconds of training, weights, and bytes of a stream's state."""


def find_objectives(chosen: Sequence[Any] | None, validated: bool) -> tuple[Objective, ...]:
    """Return objectives by their names, by functions of a fitted estimator, or as they are.

    Args:
        chosen: None or nothing: the validation loss, or the score of the cross-validation.
        validated: whether trials are cross-validated, so that they have a score instead of a validation loss.

    Raises:
        DataError: there is no objective of that name, or one stands there twice.
    """
    score = Objective(SCORE, lambda _: float("nan"), maximize=True)  # measured where the splits are
    known = {SCORE: score} if validated else OBJECTIVES
    if isinstance(chosen, str) or callable(chosen) or isinstance(chosen, Objective):
        chosen = [chosen]
    found = []
    for item in chosen or [SCORE if validated else LOSS]:
        if isinstance(item, Objective):
            found.append(item)
        elif callable(item):
            found.append(Objective(getattr(item, "__name__", type(item).__name__), item))
        elif item in known:
            found.append(known[item])
        else:
            raise DataError(f"an objective is one of {', '.join(known)}, or a function, not {item!r:.80}")
    if len({o.name for o in found}) < len(found):
        raise DataError(f"the objectives must differ: {', '.join(o.name for o in found)}")
    if validated and [o.name for o in found] != [SCORE]:
        raise DataError("with cv the objective is the score of the splits: choose it by scoring")
    return tuple(found)


def check_titans(model: Any) -> None:
    """Raise DataError unless the estimator, or the last step of a pipeline, keeps a validation loss."""
    if not isinstance(titans_step(model), TitansEstimator):
        raise DataError(
            f"{type(titans_step(model)).__name__} keeps no validation loss: give cv, so that splits judge the trials"
        )
