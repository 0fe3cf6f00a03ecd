"""`titans-seq sweep worker | status | best`: one more worker for a study, how far it is, and what is best so far."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.pipelines.options import JsonOption, TrackingOption

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study

    from titans_seq.sweeps.plan import Plan


@dataclass(frozen=True, kw_only=True)
class StudyOptions(JsonOption):
    """Which study."""

    study: str
    """Name of the study."""
    storage: str | None = None
    """sqlite:///FILE or postgresql://...; the variable TITANS_SEQ_STORAGE, or sweeps.db here, if not given."""


@dataclass(frozen=True, kw_only=True)
class SweepWorker(StudyOptions, TrackingOption):
    """Work on a study until it is done; on the machine of `sweep run`, or on any other that sees storage and data."""

    data: Path | None = None
    """Where the study's data are on this machine, if it is another place."""
    output: Path | None = None
    """Folder for the best models; none keeps no model."""

    def run(self) -> dict[str, Any]:
        """Work; return the counts of the study."""
        from dataclasses import replace

        from titans_seq.pipelines.output import claim_folder
        from titans_seq.sweeps.report import summarize_counts
        from titans_seq.sweeps.storage import translate_storage_errors, wait_for_storage
        from titans_seq.sweeps.worker import Worker

        if self.output is not None:
            claim_folder(self.output, (), force=True)
        with translate_storage_errors():
            study, storage, plan = _open_study(self)
            if self.data is not None:
                plan = replace(plan, data=str(self.data.resolve()))
            Worker(study, storage, plan, plan.open(), self.output, self.tracking_uri).run()
            return wait_for_storage(storage, lambda: summarize_counts(storage, study, plan))


@dataclass(frozen=True, kw_only=True)
class SweepStatus(StudyOptions):
    """How far a study is."""

    def run(self) -> dict[str, Any]:
        """Count; return the counts."""
        from titans_seq.sweeps.report import print_counts, summarize_counts
        from titans_seq.sweeps.storage import translate_storage_errors

        with translate_storage_errors():
            study, storage, plan = _open_study(self)
            result = summarize_counts(storage, study, plan)
        if not self.json:
            print_counts(result)
        return result


@dataclass(frozen=True, kw_only=True)
class SweepBest(StudyOptions):
    """The best trial of a study so far, and which parameters matter."""

    output: Path | None = None
    """Folder for metrics.json, trials.csv, history.png and importances.png; none writes nothing."""

    def run(self) -> dict[str, Any]:
        """Report; return the content of metrics.json."""
        from titans_seq.pipelines.output import claim_folder
        from titans_seq.sweeps.report import print_best, summarize, write_report
        from titans_seq.sweeps.storage import translate_storage_errors

        if self.output is not None:
            claim_folder(self.output, (), force=True)
        with translate_storage_errors():
            study, storage, plan = _open_study(self)
            result = summarize(storage, study, plan)
            if self.output is not None:
                write_report(self.output, study, result)
        if not self.json:
            print_best(result)
        return result


def _open_study(options: StudyOptions) -> tuple[Study, RDBStorage, Plan]:
    """Return a study, its storage with the study's own heartbeat, and its plan."""
    from titans_seq.sweeps.storage import check_public, open_storage
    from titans_seq.sweeps.study import load_study, read_plan

    check_public(options.storage)
    storage = open_storage(options.storage)
    study = load_study(storage, options.study)
    plan = read_plan(study)
    storage.heartbeat_interval, storage.grace_period = plan.heartbeat, 3 * plan.heartbeat
    return study, storage, plan
