"""The best trial of a study, by its first objective."""

from __future__ import annotations

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from titans_seq.sweeps.plan import Plan


def best_value(study: Study, plan: Plan) -> float | None:
    """Return the best value so far of the first objective; None before there is one."""
    if plan.has_one_objective:
        try:
            return float(study.best_value)
        except ValueError:
            return None
    best = best_trial(study, plan)
    return None if best is None else float(best.values[0])


def best_trial(study: Study, plan: Plan) -> FrozenTrial | None:
    """Return the complete trial that is best by the first objective, ties by the next ones; None if there is none."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return min(trials, key=lambda trial: rank(trial, plan), default=None)


def rank(trial: FrozenTrial, plan: Plan) -> list[float]:
    """Return what sorts complete trials, the best first."""
    signs = [-1.0 if direction == "maximize" else 1.0 for _, direction in plan.objectives]
    return [sign * value for sign, value in zip(signs, trial.values, strict=True)]


def is_better(plan: Plan, value: float, best: float | None) -> bool:
    """Return whether a value of the first objective is at least as good as the best so far."""
    return best is None or (value >= best if plan.objectives[0][1] == "maximize" else value <= best)
