"""`titans-seq sweep worker | status | best`: one more worker for a study, how far it is, and what is best so far."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study

    from titans_seq.sweeps.plan import Plan


@dataclass(frozen=True, kw_only=True)
class SweepWorker:
    """Work on a study until it is done; on the machine of `sweep run`, or on any other that sees storage and data."""

    study: str
    """Name of the study."""
    storage: str | None = None
    """sqlite:///FILE or postgresql://...; the variable TITANS_SEQ_STORAGE, or sweeps.db here, if not given."""
    data: Path | None = None
    """Where the study's data are on this machine, if it is another place."""
    output: Path | None = None
    """Folder for the best models; none keeps no model."""
    tracking_uri: str | None = None
    """MLflow server or database; the variable MLFLOW_TRACKING_URI, or mlflow.db here, if not given; `off` for none."""
    json: bool = False
    """Print the study's counts as JSON on standard output."""

    def run(self) -> dict[str, Any]:
        """Do it; returns the study's counts."""
        from dataclasses import replace

        from titans_seq.pipelines.output import claim_folder
        from titans_seq.sweeps.report import status
        from titans_seq.sweeps.storage import in_reach
        from titans_seq.sweeps.worker import Worker

        if self.output is not None:
            claim_folder(self.output, (), force=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with in_reach():
            study, storage, plan = _found(self.study, self.storage)
            if self.data is not None:
                plan = replace(plan, data=str(self.data.resolve()))
            Worker(study, storage, plan, plan.open(), self.output, self.tracking_uri).run()
            return status(storage, study, plan)


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """How far a study is."""

    study: str
    """Name of the study."""
    storage: str | None = None
    """sqlite:///FILE or postgresql://...; the variable TITANS_SEQ_STORAGE, or sweeps.db here, if not given."""
    json: bool = False
    """Print as JSON on standard output instead of a table."""

    def run(self) -> dict[str, Any]:
        """Do it; returns counts."""
        from titans_seq.sweeps.report import count_table, status
        from titans_seq.sweeps.storage import in_reach

        with in_reach():
            study, storage, plan = _found(self.study, self.storage)
            result = status(storage, study, plan)
        if not self.json:
            count_table(result)
        return result


@dataclass(frozen=True, kw_only=True)
class SweepBest:
    """The best trial of a study so far, and which parameters matter."""

    study: str
    """Name of the study."""
    storage: str | None = None
    """sqlite:///FILE or postgresql://...; the variable TITANS_SEQ_STORAGE, or sweeps.db here, if not given."""
    output: Path | None = None
    """Folder for metrics.json, trials.csv, history.png and importances.png; none writes nothing."""
    json: bool = False
    """Print as JSON on standard output instead of a table."""

    def run(self) -> dict[str, Any]:
        """Do it; returns what metrics.json holds."""
        from titans_seq.pipelines.output import claim_folder
        from titans_seq.sweeps.report import best_table, summary, write_report
        from titans_seq.sweeps.storage import in_reach

        if self.output is not None:
            claim_folder(self.output, (), force=True)
        with in_reach():
            study, storage, plan = _found(self.study, self.storage)
            result = summary(storage, study, plan)
            if self.output is not None:
                write_report(self.output, study, result)
        if not self.json:
            best_table(result)
        return result


def _found(name: str, url: str | None) -> tuple[Study, RDBStorage, Plan]:
    """A study, its storage with the study's own heartbeat, and its plan."""
    from titans_seq.sweeps.storage import opened
    from titans_seq.sweeps.study import found, plan_of

    storage = opened(url)
    study = found(storage, name)
    plan = plan_of(study)
    storage.heartbeat_interval, storage.grace_period = plan.heartbeat, 3 * plan.heartbeat
    return study, storage, plan
