"""`titans-seq sweep run`: a study from its plan to its winner, by workers that may die."""

from __future__ import annotations

import hashlib
import math
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.domains.task import TaskOptions
from titans_seq.errors import ModelError, SweepError, TitansSeqWarning
from titans_seq.files import write_json
from titans_seq.pipelines.log import log_results, log_scores
from titans_seq.pipelines.options import ResultOptions, TrackingOption
from titans_seq.pipelines.output import claim_folder, hold_folder
from titans_seq.pipelines.settings import parse_settings
from titans_seq.progress import progress_bar
from titans_seq.tracking import OFF, track

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study

    from titans_seq.domains.task import Task
    from titans_seq.sweeps.plan import Plan
    from titans_seq.sweeps.pool import WorkerPool

FILES = ("metrics.json", "trials.csv", "history.png", "importances.png", "model")


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
    """What is the same in every trial, as NAME=VALUE; any parameter of the domain's estimator."""
    trials: int = 20
    """Finished trials (complete or pruned) of the whole study."""
    workers: int = 1
    """Processes side by side; they share the processors."""
    study: str | None = None
    """Name of the study; the domain's if not given."""
    storage: str | None = None
    """sqlite:///FILE or postgresql://...; the variable TITANS_SEQ_STORAGE, or sweeps.db here, if not given."""
    resume: bool = False
    """Go on with a study of that name."""
    prune: bool = True
    """Give up trials that fall behind."""
    max_failures: int = 5
    """Failed trials in a row that end the study."""
    max_retries: int = 3
    """Times that the parameters of a killed trial are tried again."""
    heartbeat: int = 10
    """Seconds between signs of life of a trial; after three without, it counts as dead."""
    output: Path = Path("runs/sweep")
    """Folder for the results."""

    def run(self) -> dict[str, Any]:
        """Search; return the content of metrics.json."""
        from titans_seq.sweeps.storage import translate_storage_errors

        with translate_storage_errors(), _interruptible():
            return run_sweep(self)


def run_sweep(options: SweepRun) -> dict[str, Any]:
    """Run a study from its plan or where it stopped: start workers, wait, and write the winner.

    Raises:
        DataError: wrong input; no study was made then.
        StorageError: the storage cannot be reached, or was lost; `--resume` goes on when it is back.
        SweepError: the name is in use, the study is of another plan, trials failed in a row, or workers kept dying.
        KeyboardInterrupt: Ctrl-C; trials at hand are free for the next run.
    """
    from optuna.trial import TrialState

    from titans_seq.sweeps.plan import make_plan
    from titans_seq.sweeps.pool import WorkerPool
    from titans_seq.sweeps.reconcile import ERROR, release_trials
    from titans_seq.sweeps.report import print_best, summarize, write_report
    from titans_seq.sweeps.space import Space
    from titans_seq.sweeps.storage import (
        VARIABLE,
        check_public,
        lock_study,
        open_storage,
        resolve_url,
        wait_for_storage,
    )
    from titans_seq.sweeps.study import check_name, find_resumable, store_plan
    from titans_seq.sweeps.worker import PARENT, RUN

    check_public(options.storage)
    if options.workers < 1:
        raise SweepError(f"workers must be at least 1, not {options.workers}")
    names = ("test_fraction", "trials", "prune", "max_failures", "max_retries", "heartbeat", "seed")
    plan, task = make_plan(
        options.domain,
        options.data,
        Space.parse(options.vary),
        {"horizon": options.horizon},
        fixed=parse_settings(options.set),
        **{name: getattr(options, name) for name in names},
    )
    plan.check(task)
    name = check_name(options.domain if options.study is None else options.study)
    claim_folder(options.output, FILES, options.force)
    place = resolve_url(options.storage).render_as_string(hide_password=False)
    storage = open_storage(place, plan.heartbeat, fresh=True)
    study = find_resumable(storage, name, plan, options.resume)
    parent = None if study is None else study.user_attrs.get(PARENT)
    scratch = options.output / f"trials-{hashlib.sha256(f'{place} {name}'.encode()).hexdigest()[:8]}"
    began = time.perf_counter()
    parameters = {"domain": plan.domain, "data": task.name, "random_state": plan.seed, "trials": plan.trials}
    with (
        hold_folder(options.output),
        track(options.tracking_uri, name, f"{name} (study)", parameters, again=parent) as run,
    ):
        with lock_study(storage, name):
            study = store_plan(storage, name, plan, find_resumable(storage, name, plan, options.resume))
        if run.run_id is not None:
            study.set_user_attr(PARENT, run.run_id)
            run.data(task.frame, task.name)
        environment = {VARIABLE: place, "MLFLOW_TRACKING_URI": OFF if run.run_id is None else run.uri}
        command = ["sweep", "worker", f"--study={name}", f"--output={scratch.resolve()}"]
        pool = WorkerPool(command, environment, options.output / "logs", options.workers)
        try:
            with pool.running():
                _wait(pool, storage, study, plan, not options.json and sys.stderr.isatty())
        finally:
            with suppress(Exception), lock_study(storage, name):  # the storage may be what was lost
                release_trials(study, pool.names)
        for trial in wait_for_storage(storage, lambda: study.get_trials(deepcopy=False)):
            if trial.state is TrialState.FAIL and ERROR not in trial.user_attrs and RUN in trial.user_attrs:
                run.end(trial.user_attrs[RUN], "KILLED")
        result = wait_for_storage(storage, lambda: summarize(storage, study, plan)) | {
            "seconds": round(time.perf_counter() - began, 1),
            "workers": options.workers,
        }
        write_report(options.output, study, result)
        if result["best"] is not None:
            model = _load_winner(scratch, task, result["best"])
            model.save(options.output / "model")
            result["test"] = task.test(model)
            write_json(options.output / "metrics.json", result)
            for parameter, value in result["best"]["parameters"].items():
                run.tag(f"best_{parameter}", str(value))  # not a parameter: a study that goes on may find a better one
            run.metrics({"best_val_loss": result["best"]["val_loss"]})
            log_scores(run, {"titans": result["test"]})
        run.metrics({name: result[name] for name in ("complete", "pruned", "failed", "lost", "fit_seconds")})
        log_results(run, options.output, [file for file in FILES if (options.output / file).exists()])
        shutil.rmtree(scratch, ignore_errors=True)
    if not options.json:
        print_best(result)
        print(f"{', '.join(FILES[:-1])} and the best model are in {options.output}")
    return result


@contextmanager
def _interruptible() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _wait(pool: WorkerPool, storage: RDBStorage, study: Study, plan: Plan, shown: bool) -> None:
    """Wait until the study is done, with a bar on standard error."""
    from rich.progress import MofNCompleteColumn, TextColumn

    from titans_seq.sweeps.reconcile import Counts
    from titans_seq.sweeps.storage import wait_for_storage
    from titans_seq.sweeps.worker import best_value

    with progress_bar(shown, MofNCompleteColumn(), TextColumn("{task.fields[best]}")) as bar:
        row = bar.add_task("trials", total=plan.trials, best="")
        while pool.is_working():
            counts, _ = wait_for_storage(storage, lambda: Counts.from_storage(storage, study.study_name))
            best = wait_for_storage(storage, lambda: best_value(study))
            bar.update(row, completed=counts.finished, best=f"best {best:.4g}")
            time.sleep(0.5)


def _load_winner(scratch: Path, task: Task, best: dict[str, Any]) -> Any:
    """Return the model of the best trial: as its worker kept it, or trained again with the same seed."""
    with suppress(ModelError):
        model = task.estimator().load(scratch / str(best["trial"]))
        chosen, losses = model.get_params(), filter(math.isfinite, model.history_.validation_loss)
        if chosen | best["parameters"] == chosen and math.isclose(min(losses), best["val_loss"], rel_tol=1e-9):
            return model
    warnings.warn(
        f"the model of trial {best['trial']} is not here: it is trained again", TitansSeqWarning, stacklevel=2
    )
    model = task.build(best["parameters"])
    task.fit(model)
    return model
