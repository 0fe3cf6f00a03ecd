"""Optuna's samplers and pruners by their own names."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from titans_seq.errors import DataError, reason
from titans_seq.sweeps.space import Space

SAMPLER, PRUNER = "TPESampler", "MedianPruner"
"""What is used if nothing is named."""
NONE = "NopPruner"
"""The pruner that gives up no trial."""
OWN = "own"
"""What a plan says of an object, which only the process that has it can use."""
FIRST_TRIALS, FIRST_EPOCHS = 5, 1
"""Trials that the default pruner lets end first, and epochs that it lets every trial have."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "TPESampler": {"multivariate": True, "constant_liar": True},
    "MedianPruner": {"n_startup_trials": FIRST_TRIALS, "n_warmup_steps": FIRST_EPOCHS},
    "PercentilePruner": {"percentile": 25.0, "n_startup_trials": FIRST_TRIALS, "n_warmup_steps": FIRST_EPOCHS},
}


def name_of(given: Any, kind: type, usual: str) -> str:
    """Return the name that a plan keeps of a sampler or pruner: its class in Optuna, or `OWN` for an object.

    Raises:
        DataError: it is neither an object of Optuna's kind nor the name of one of its classes.
    """
    if given is None:
        return usual
    if isinstance(given, kind):
        return OWN
    names = _names(kind)
    if given not in names:
        raise DataError(f"there is no {kind.__name__[4:].lower()} {given!r:.80}; Optuna has {', '.join(names)}")
    return str(given)


def build_sampler(name: str, seed: int, number: int, space: Space | None) -> BaseSampler:
    """Return the sampler of one trial by name: what is tried does not depend on how often workers were restarted.

    Args:
        seed: of the search.
        number: of the trial.
        space: what varies; None if a function says.

    Raises:
        DataError: it needs more than a name, or a package that is not here.
    """
    if name == "GridSampler":
        if space is None:
            raise DataError("a GridSampler needs ranges: a function of a trial has none")
        grid = {key: space.values(key) for key in space.parameters}
        return _Grid(grid, seed=0)  # the grid's order, the same for every trial
    return _build(BaseSampler, name, int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


class _Grid(optuna.samplers.GridSampler):  # type: ignore[misc]
    """A grid that ends no loop of Optuna's, as there is none; when it is done, points are tried again."""

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """Do nothing."""


def build_pruner(name: str) -> BasePruner:
    """Return a pruner by name; raise DataError if it needs more than that."""
    return _build(BasePruner, name, None)


def _build(kind: type, name: str, seed: int | None) -> Any:
    found = _names(kind)[name]
    options = _OPTIONS.get(name, {}) | ({"seed": seed} if "seed" in inspect.signature(found).parameters else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return found(**options)
        except (TypeError, ValueError, ImportError) as error:
            raise DataError(f"{name} cannot be made by its name alone, give an object: {reason(error)}") from error


def _names(kind: type) -> dict[str, type]:
    """Return the classes that Optuna has of a kind, by name."""
    module = optuna.samplers if kind is BaseSampler else optuna.pruners
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        name: value
        for name, value in sorted(found.items())
        if isinstance(value, type) and issubclass(value, kind) and not inspect.isabstract(value)
    }
