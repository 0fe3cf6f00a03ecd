"""What a sweep from Python returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from titans_seq.errors import DataError
from titans_seq.sweeps.page import write_page
from titans_seq.sweeps.plan import Plan
from titans_seq.sweeps.report import trials_frame
from titans_seq.sweeps.study import name_objectives

if TYPE_CHECKING:
    import pandas as pd
    from optuna.study import Study


@dataclass(frozen=True)
class SweepResult:
    """What a sweep found."""

    study: Study
    """Optuna's study, in memory."""
    summary: dict[str, Any]
    """Counts, seconds, the best trial, importances and scores on held-back data, as plain values."""
    best_estimator_: Any
    """The best model; None if no trial is complete, or without `refit`."""
    plan: Plan
    """What was searched, and how."""

    @property
    def best_params_(self) -> dict[str, Any]:
        """Parameters of the best trial that vary, by the first objective.

        Raises:
            DataError: no trial is complete.
        """
        if self.summary["best"] is None:
            raise DataError("no trial is complete")
        return dict(self.summary["best"]["varied"])

    @property
    def best_value_(self) -> float:
        """Value of the first objective of the best trial; raises DataError if no trial is complete."""
        self.best_params_  # noqa: B018  for its error
        return float(self.summary["best"][self.plan.objectives[0][0]])

    @property
    def trials(self) -> pd.DataFrame:
        """A row per trial: number, state, objectives, parameters, seconds, and scores of splits."""
        return trials_frame(self.study, self.plan)

    @property
    def pareto(self) -> pd.DataFrame:
        """The complete trials that no other beats in all objectives at once, the best by the first one on top."""
        name, direction = self.plan.objectives[0]
        numbers = {t.number for t in self.study.best_trials}
        frame = self.trials
        front = frame[frame["number"].isin(numbers)]
        return front.sort_values(name, ascending=direction == "minimize", ignore_index=True)

    @property
    def importances(self) -> dict[str, float]:
        """Share of the first objective's variance that each parameter explains (fANOVA)."""
        return dict(self.summary["importances"])

    def report(self, path: Path | str) -> Path:
        """Write the report, one HTML page that needs nothing else, and return its path."""
        return write_page(Path(path), self.study, self.plan, self.summary)


def copy_to_memory(study: Study, plan: Plan) -> Study:
    """Return a copy of a study that needs no storage."""
    copy = optuna.create_study(study_name=study.study_name, directions=study.directions)
    copy.add_trials(study.get_trials())
    for key, value in study.user_attrs.items():
        copy.set_user_attr(key, value)
    name_objectives(copy, plan)
    return copy
