"""A sweep from its plan to its winner, by workers that may die."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from titans_seq.errors import DataError, ModelError, TitansSeqWarning
from titans_seq.estimator import TitansEstimator
from titans_seq.pipelines.log import log_results, log_scores
from titans_seq.pipelines.output import claim_folder, hold_folder
from titans_seq.pipelines.saved import check_registered_name, register_model
from titans_seq.progress import progress_bar
from titans_seq.sweeps.best import best_value
from titans_seq.sweeps.plan import Plan
from titans_seq.sweeps.pool import WorkerPool, hand_over
from titans_seq.sweeps.reconcile import ERROR, Counts, release_trials, worker_name
from titans_seq.sweeps.report import FILES, summarize, write_report
from titans_seq.sweeps.search import Search
from titans_seq.sweeps.storage import VARIABLE, lock_study, open_storage, wait_for_storage
from titans_seq.sweeps.study import check_name, find_resumable, store_plan
from titans_seq.sweeps.trainable import TaskTrainable
from titans_seq.sweeps.worker import PARENT, RUN, Worker
from titans_seq.tracking import OFF, Run, track

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study


@dataclass
class Sweep:
    """A planned sweep.

    Args:
        place: URL of the storage, with its password.
        workers: processes side by side; 0: this process does it all.
        output: folder for the results; None writes none.
        told: warnings that were shown already.
    """

    plan: Plan
    search: Search
    name: str
    place: str
    workers: int
    resume: bool = False
    refit: bool = True
    output: Path | None = None
    force: bool = False
    tracking_uri: str | None = OFF
    register: str | None = None
    shown: bool = False
    told: frozenset[str] = frozenset()

    def run(self) -> tuple[Study, dict[str, Any], Any]:
        """Search; return the study, the content of metrics.json, and the best model.

        Raises:
            DataError: wrong input; no study was made then.
            StorageError: the storage cannot be reached, or was lost; `resume` goes on when it is back.
            SweepError: the name is in use, the study is of another plan, trials failed in a row, or workers kept dying.
            KeyboardInterrupt: Ctrl-C before a trial was complete; trials at hand are free for the next run.
        """
        check_name(self.name)
        check_registered_name(self.register, self.tracking_uri)
        if self.register is not None and self.output is None:
            raise DataError("to be registered, a model needs an output folder")
        if self.output is not None:
            claim_folder(self.output, FILES, self.force or self.resume)
        with self._folder() as folder:
            return self._run(folder)

    def _run(self, folder: Path) -> tuple[Study, dict[str, Any], Any]:
        plan, name = self.plan, self.name
        storage = open_storage(self.place, plan.heartbeat, fresh=True)
        study = find_resumable(storage, name, plan, self.resume)
        parent = None if study is None else study.user_attrs.get(PARENT)
        scratch = folder / f"trials-{hashlib.sha256(f'{self.place} {name}'.encode()).hexdigest()[:8]}"
        began = time.perf_counter()
        parameters = {
            "domain": plan.domain or plan.estimator,
            "data": plan.data_name,
            "random_state": plan.seed,
            "trials": plan.trials,
        }
        with track(self.tracking_uri, name, f"{name} (study)", parameters, again=parent) as run:
            with lock_study(storage, name):
                study = store_plan(storage, name, plan, find_resumable(storage, name, plan, self.resume))
            if run.run_id is not None:
                study.set_user_attr(PARENT, run.run_id)
                self.search.trainable.log_data(run)
            names: set[str] = {worker_name()} if self.workers == 0 else set()
            interrupted = False
            try:
                if self.workers == 0:
                    self._work_here(study, storage, scratch, run)
                else:
                    self._work_elsewhere(study, storage, scratch, run, folder / "logs", names)
            except KeyboardInterrupt:
                if best_value(study, plan) is None:
                    raise
                interrupted = True
            finally:
                with suppress(Exception), lock_study(storage, name):  # the storage may be what was lost
                    release_trials(study, names)
            for trial in wait_for_storage(storage, lambda: study.get_trials(deepcopy=False)):
                if trial.state is TrialState.FAIL and ERROR not in trial.user_attrs and RUN in trial.user_attrs:
                    run.end(trial.user_attrs[RUN], "KILLED")
            result = wait_for_storage(storage, lambda: summarize(storage, study, plan, self.search.space)) | {
                "seconds": round(time.perf_counter() - began, 1),
                "workers": max(1, self.workers),
                "interrupted": interrupted,
            }
            model = self._finish(study, run, result, scratch)
        if interrupted:
            finished = result["complete"] + result["pruned"]
            warnings.warn(
                f"interrupted after {finished} of {plan.trials} trials: the best of them counts",
                TitansSeqWarning,
                stacklevel=4,
            )
        shutil.rmtree(scratch, ignore_errors=True)
        return study, result, model

    def _finish(self, study: Study, run: Run, result: dict[str, Any], scratch: Path) -> Any:
        """Write and log what was found; return the best model, or None."""
        best, model = result["best"], None
        if best is not None and self.refit:
            model = load_winner(scratch, self.search, best, anew=not result["interrupted"])
            if model is not None and isinstance(self.search.trainable, TaskTrainable):
                result["test"] = self.search.trainable.task.test(model)
        if self.output is not None:
            if isinstance(model, TitansEstimator):
                model.save(self.output / "model")
            write_report(self.output, study, self.plan, result)
        if best is not None:
            for parameter, value in best["parameters"].items():
                run.tag(f"best_{parameter}", str(value))  # not a parameter: a study that goes on may find a better one
            run.metrics({f"best_{name}": best[name] for name, _ in self.plan.objectives})
            log_scores(run, {"titans": result.get("test", {})})
        run.metrics({name: result[name] for name in ("complete", "pruned", "failed", "lost", "fit_seconds")})
        if self.output is not None:
            model_uri = log_results(run, self.output, [file for file in FILES if (self.output / file).exists()])
            if self.register is not None and best is not None:
                register_model(model_uri, self.register, run)
        return model

    def _work_here(self, study: Study, storage: RDBStorage, scratch: Path, run: Run) -> None:
        """Do all trials in this process."""
        with self._bar(study, storage) as update:
            uri = OFF if run.run_id is None else run.uri
            Worker(study, storage, self.plan, self.search, scratch, uri, update).run()

    def _work_elsewhere(
        self, study: Study, storage: RDBStorage, scratch: Path, run: Run, logs: Path, names: set[str]
    ) -> None:
        """Do the trials in processes of their own; adds their names."""
        environment = {VARIABLE: self.place, "MLFLOW_TRACKING_URI": OFF if run.run_id is None else run.uri}
        options = [f"--study={self.name}", f"--output={scratch.resolve()}"]
        with hand_over(None if self.plan.is_open else self.search) as (program, parcel):
            pool = WorkerPool([*program, *options], environment, logs, self.workers, parcel, set(self.told))
            try:
                with pool.running(), self._bar(study, storage) as update:
                    while pool.is_working():
                        update()
                        time.sleep(0.5)
            finally:
                names.update(pool.names)

    @contextmanager
    def _bar(self, study: Study, storage: RDBStorage) -> Iterator[Callable[[], None]]:
        """Show a bar on standard error; yield what updates it."""
        from rich.progress import MofNCompleteColumn, TextColumn

        with progress_bar(self.shown, MofNCompleteColumn(), TextColumn("{task.fields[best]}")) as bar:
            row = bar.add_task("trials", total=self.plan.trials, best="")

            def update() -> None:
                counts, _ = wait_for_storage(storage, lambda: Counts.from_storage(storage, study.study_name))
                best = wait_for_storage(storage, lambda: best_value(study, self.plan))
                bar.update(row, completed=counts.finished, best="" if best is None else f"best {best:.4g}")

            yield update

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """Yield the output folder, held against other processes, or a temporary one."""
        if self.output is None:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder)
        else:
            with hold_folder(self.output):
                yield self.output


def load_winner(scratch: Path, search: Search, best: Mapping[str, Any], anew: bool = True) -> Any:
    """Return the model of the best trial: as its worker kept it, or trained again with the same seed.

    Args:
        anew: whether there is time to train; otherwise None is returned instead.
    """
    trainable, objective = search.trainable, search.trainable.objectives[0]
    model = trainable.build(best["parameters"])
    if isinstance(model, TitansEstimator) and "score" not in best:
        with suppress(ModelError):
            kept = type(model).load(scratch / str(best["trial"]))
            if _same(kept.get_params(), model.get_params()) and math.isclose(
                objective.measure(kept), best[objective.name], rel_tol=1e-9
            ):
                return kept
        if anew:
            warnings.warn(
                f"the model of trial {best['trial']} is not here: it is trained again", TitansSeqWarning, stacklevel=2
            )
    if not anew:
        return None
    trainable.fit(model)
    return model


def _same(saved: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Return whether parameters agree, but for what a file does not keep as it was."""
    return all(
        saved[name] == value or isinstance(value, list | tuple | dict) for name, value in given.items() if name in saved
    )
