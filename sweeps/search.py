"""What a worker needs beside a study and its plan: what to train, and what of the search is no plain value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import BaseTrial

from titans_seq.errors import DataError
from titans_seq.sweeps.objectives import find_objectives
from titans_seq.sweeps.plan import Plan
from titans_seq.sweeps.samplers import build_sampler
from titans_seq.sweeps.space import SpaceFunction
from titans_seq.sweeps.trainable import TaskTrainable, Trainable


@dataclass
class Search:
    """Trainable, and what a program gave as objects."""

    trainable: Trainable
    space: SpaceFunction | None = None
    """Says what a trial tries; None: the plan's ranges."""
    sampler: BaseSampler | None = None
    """None: the one that the plan names."""
    pruner: BasePruner | None = None
    """None: the one that the plan names."""

    @classmethod
    def from_plan(cls, plan: Plan) -> Search:
        """Return all of it for a study that any process can work on; reads the data.

        Raises:
            DataError: the data cannot be used, or are others.
            SweepError: only the process that began the study can work on it.
        """
        task = plan.open()
        return cls(TaskTrainable(task, find_objectives([name for name, _ in plan.objectives], validated=False)))

    def sampler_for(self, plan: Plan, number: int) -> BaseSampler:
        """Return the sampler of a trial."""
        if self.sampler is None:
            return build_sampler(plan.sampler, plan.seed, number, plan.ranges)
        return self.sampler

    def parameters(self, trial: BaseTrial) -> dict[str, Any]:
        """Return the estimator's parameters that a trial chooses."""
        return dict(trial.params) if self.space is None else call_space(self.space, trial)


def call_space(space: SpaceFunction, trial: BaseTrial) -> dict[str, Any]:
    """Return the parameters that a function chooses; raise DataError if it returns something else."""
    chosen = space(trial)
    if not isinstance(chosen, Mapping) or not all(isinstance(name, str) for name in chosen):
        raise DataError(f"the space must return a dict of parameters, not {chosen!r:.80}")
    return dict(chosen)
