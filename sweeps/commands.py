"""`titans-seq sweep run | worker | status | best | report`: a study from the command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.domains.task import TaskOptions
from titans_seq.pipelines.options import JsonOption, ResultOptions, TrackingOption

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study

    from titans_seq.sweeps.plan import Plan


@dataclass(frozen=True, kw_only=True)
class SweepRun(ResultOptions, TrackingOption, TaskOptions):
    """Search hyper-parameters with several workers; what was finished stays, and `--resume` goes on with it."""

    domain: str
    """timeseries, genomics, language, or one that another package brings."""
    horizon: int | None = None
    """Time series: steps to forecast; none means what `titans-seq forecast` takes."""
    vary: tuple[str, ...] = ()
    """What is searched, as NAME=1,2,4 or NAME=1:8 or NAME=1e-4:1e-2:log; none means depth, chunk size, gates, variant,
    width and learning rate."""
    set: tuple[str, ...] = ()
    """What is the same in every trial, as NAME=VALUE; any parameter of the domain's estimator. A tuple reads
    "NAME=(0.1, 0.9)"."""
    trials: int = 20
    """Finished trials (complete or pruned) of the whole study."""
    workers: int = 1
    """Processes side by side; they share the processors."""
    objectives: tuple[str, ...] = ()
    """What trials are judged by: val_loss, seconds, n_parameters, state_bytes; several give a Pareto front."""
    sampler: str | None = None
    """Class of Optuna that chooses what is tried; TPESampler if not given."""
    pruner: str | None = None
    """Class of Optuna that gives up trials that fall behind; MedianPruner if not given, NopPruner gives up none."""
    study: str | None = None
    """Name of the study; the domain's if not given."""
    storage: str | None = None
    """sqlite:///FILE or postgresql://...; the variable TITANS_SEQ_STORAGE, or sweeps.db here, if not given."""
    resume: bool = False
    """Go on with a study of that name."""
    max_failures: int = 5
    """Failed trials in a row that end the study."""
    max_retries: int = 3
    """Times that the parameters of a killed trial are tried again."""
    heartbeat: int = 10
    """Seconds between signs of life of a trial; after three without, it counts as dead."""
    output: Path = Path("runs/sweep")
    """Folder for the results."""
    register: str | None = None
    """Name, or NAME@ALIAS, that the best model gets in MLflow's registry; none registers nothing."""

    def run(self) -> dict[str, Any]:
        """Search; return the content of metrics.json."""
        from titans_seq.pipelines.settings import parse_settings
        from titans_seq.sweeps.report import FILES, print_best
        from titans_seq.sweeps.space import Space
        from titans_seq.sweeps.storage import check_public, resolve_url
        from titans_seq.sweeps.tune import sweep

        check_public(self.storage)
        same = (
            "trials", "workers", "objectives", "sampler", "pruner", "study", "resume", "force", "tracking_uri",
            "max_failures", "max_retries", "heartbeat", "seed", "output", "horizon", "test_fraction", "register",
        )  # fmt: skip
        found = sweep(
            self.domain,
            self.data,
            Space.parse(self.vary).parameters,
            fixed=parse_settings(self.set),
            storage=resolve_url(self.storage).render_as_string(hide_password=False),
            isolate=True,
            verbose=not self.json and sys.stderr.isatty(),
            **{name: getattr(self, name) for name in same},
        )
        if not self.json:
            print_best(found.summary, found.plan)
            print(f"{', '.join(FILES[:-1])} and the best model are in {self.output}")
        if found.summary["interrupted"]:
            raise KeyboardInterrupt
        return found.summary


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
        from titans_seq.sweeps.search import Search
        from titans_seq.sweeps.storage import translate_storage_errors, wait_for_storage
        from titans_seq.sweeps.worker import Worker

        if self.output is not None:
            claim_folder(self.output, (), force=True)
        with translate_storage_errors():
            study, storage, plan = _open_study(self)
            if self.data is not None:
                plan = replace(plan, data=str(self.data.resolve()))
            Worker(study, storage, plan, Search.from_plan(plan), self.output, self.tracking_uri).run()
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
class SweepBest(StudyOptions, ResultOptions):
    """The best trial of a study so far, and which parameters matter."""

    output: Path | None = None
    """Folder for metrics.json, trials.csv, pictures and report.html; none writes nothing."""

    def run(self) -> dict[str, Any]:
        """Report; return the content of metrics.json."""
        from titans_seq.pipelines.output import claim_folder
        from titans_seq.sweeps.report import FILES, print_best, summarize, write_report
        from titans_seq.sweeps.storage import translate_storage_errors

        if self.output is not None:
            claim_folder(self.output, FILES[:-1], self.force)
        with translate_storage_errors():
            study, storage, plan = _open_study(self)
            result = summarize(storage, study, plan)
            if self.output is not None:
                write_report(self.output, study, plan, result)
        if not self.json:
            print_best(result, plan)
        return result


@dataclass(frozen=True, kw_only=True)
class SweepReport(StudyOptions, ResultOptions):
    """Write all about a study as one HTML page: what was tried, what is best, and what mattered; also while it runs."""

    out: Path = Path("report.html")
    """File to write."""

    def run(self) -> dict[str, Any]:
        """Report; return the content of metrics.json."""
        from titans_seq.pipelines.output import claim_file
        from titans_seq.sweeps.page import write_page
        from titans_seq.sweeps.report import summarize
        from titans_seq.sweeps.storage import translate_storage_errors

        claim_file(self.out, self.force)
        with translate_storage_errors():
            study, storage, plan = _open_study(self)
            result = summarize(storage, study, plan)
            write_page(self.out, study, plan, result)
        if not self.json:
            print(f"{result['study']}: {self.out}")
        return result


def _open_study(options: StudyOptions) -> tuple[Study, RDBStorage, Plan]:
    """Return the study that the options name, its storage and its plan."""
    from titans_seq.sweeps.storage import check_public
    from titans_seq.sweeps.study import open_study

    check_public(options.storage)
    return open_study(options.storage, options.study)
