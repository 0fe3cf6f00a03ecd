"""One worker of a study: take a trial under the lock, train, report, until enough are finished."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from titans_seq.errors import DataError, ModelError, SweepError, TitansSeqError, TitansSeqWarning, TrackingError, reason
from titans_seq.estimator import TitansEstimator
from titans_seq.sweeps.best import best_value, is_better
from titans_seq.sweeps.plan import Plan
from titans_seq.sweeps.reconcile import (
    ERROR,
    INTERRUPTED,
    WORKER,
    Counts,
    failures_in_a_row,
    reconcile,
    worker_name,
)
from titans_seq.sweeps.samplers import build_pruner
from titans_seq.sweeps.search import Search
from titans_seq.sweeps.storage import GRACE, RETRY, lock_study, translate_storage_errors, wait_for_storage
from titans_seq.sweeps.study import FORGIVEN, read_plan
from titans_seq.tracking import OFF, Run, track

T = TypeVar("T")
PARENT = "mlflow_parent"
"""User attribute of a study: the run that the runs of its trials belong to."""
RUN = "mlflow_run"
"""User attribute of a trial: its run."""
FIT_SECONDS = "fit_seconds"
"""User attribute of a trial: time that its estimator trained."""
GIVEN_UP = "given_up"
"""User attribute of a pruned trial: by which pruner, and when."""


@dataclass
class Worker:
    """A process that works on a study until it is done."""

    study: Study
    storage: RDBStorage
    plan: Plan
    search: Search
    folder: Path | None = None
    """Where the best models go, as FOLDER/NUMBER."""
    tracking_uri: str | None = OFF
    on_trial: Callable[[], object] = lambda: None
    """Called after each trial."""
    _silent: float = -math.inf
    """When the storage last did not take a sign of life."""

    def __post_init__(self) -> None:
        self.study.pruner = self.search.pruner or build_pruner(self.plan.pruner)

    def run(self) -> None:
        """Work on trial after trial.

        Raises:
            SweepError: too many trials failed in a row.
            StorageError: the storage was lost.
            KeyboardInterrupt: Ctrl-C or SIGTERM; the trial at hand is free for others at once.
        """
        import lightning.pytorch  # noqa: F401  seconds, which would else be the first trial's

        if self.tracking_uri != OFF:
            import mlflow  # noqa: F401

        with translate_storage_errors():
            while (trial := self._patiently(self._next)) is not None:
                if isinstance(trial, Trial):
                    self._work(trial)
                    self.on_trial()
                else:
                    time.sleep(min(1.0, self.plan.heartbeat / 2))

    def _next(self) -> Trial | bool | None:
        """Return a trial to work on; False to wait for what others are at; None if the study is done."""
        while time.monotonic() - self._silent < GRACE * self.plan.heartbeat:
            time.sleep(0.1)  # the storage was away: others must be able to show that they live before they are judged
        with lock_study(self.storage, self.study.study_name):
            plan = self.plan = replace(read_plan(self.study), data=self.plan.data)  # it may have been resumed meanwhile
            trials = reconcile(self.study, plan.max_retries)
            counts = Counts.from_trials(trials)
            if counts.finished >= plan.trials:
                return None
            failures = failures_in_a_row(trials, self.study.user_attrs.get(FORGIVEN, 0))
            if len(failures) >= plan.max_failures:
                raise SweepError(
                    f"{len(failures)} trials failed in a row, the last one ({failures[-1].number}) with: "
                    f"{failures[-1].user_attrs[ERROR]}"
                )
            if counts.finished + counts.running >= plan.trials:
                return False
            return self._ask(len(trials))

    def _ask(self, count: int) -> Trial:
        self.study.sampler = self.search.sampler_for(self.plan, count)
        ranges = self.plan.ranges
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna would have heartbeats with its own loop only
            trial = self.study.ask(None if ranges is None else dict(ranges.parameters))
        self.storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr(WORKER, worker_name())
        return trial

    def _work(self, trial: Trial) -> None:
        """Train a trial and tell its result; errors of the estimator are the trial's, not the worker's."""
        state, values = TrialState.FAIL, None
        try:
            with self._heartbeat(trial):
                values = self._train(trial)
            state = TrialState.COMPLETE
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except (KeyboardInterrupt, SystemExit):
            _try(lambda: self._patiently(lambda: trial.set_user_attr(INTERRUPTED, True)))
            raise
        except optuna.exceptions.UpdateFinishedTrialError:
            warnings.warn(
                f"trial {trial.number} was taken for dead and given to another worker", TitansSeqWarning, stacklevel=2
            )
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError):
            raise
        except Exception as error:
            said = reason(error) if isinstance(error, TitansSeqError) else f"{type(error).__name__}: {reason(error)}"
            _try(lambda: self._patiently(lambda: trial.set_user_attr(ERROR, said)))
        finally:
            self._tell(trial, state, values)

    def _patiently(self, call: Callable[[], T]) -> T:
        """Return what a call of the storage returns, when it is there."""
        return wait_for_storage(self.storage, call, self._note_silence)

    def _note_silence(self) -> None:
        self._silent = time.monotonic()

    def _tell(self, trial: Trial, state: TrialState, values: list[float] | None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _try(lambda: self._patiently(lambda: self.study.tell(trial, values, state, skip_if_finished=True)))

    def _train(self, trial: Trial) -> list[float]:
        """Return the values of a trial; raise TrialPruned if it was given up."""
        trainable, pruned = self.search.trainable, False
        chosen = self._patiently(lambda: self.search.parameters(trial))
        model = trainable.build(self.plan.parameters(chosen))
        columns: dict[str, Any] = {}
        with ExitStack() as stack:
            run = self._run(stack, trial, trainable.describe(model))
            seen: list[float] = []

            def report(value: float) -> None:
                seen.append(value)
                if not math.isfinite(value) or not self.plan.has_one_objective:
                    return
                self._patiently(lambda: trial.report(value, len(seen) - 1))
                if self._patiently(trial.should_prune):
                    said = f"{type(self.study.pruner).__name__} at step {len(seen) - 1}"
                    self._patiently(lambda: trial.set_user_attr(GIVEN_UP, said))
                    raise optuna.TrialPruned

            try:
                columns = trainable.train(run, model, report)
            except optuna.TrialPruned:
                pruned = True
            seconds = columns.get(FIT_SECONDS, getattr(getattr(model, "history_", None), "seconds", None))
            for name, value in (columns | ({} if seconds is None else {FIT_SECONDS: seconds})).items():
                self._set(trial, name, value)
            run.tag("pruned", str(pruned).lower())
        if pruned:
            raise optuna.TrialPruned
        values = trainable.values(model, columns)
        if not all(map(math.isfinite, values)):
            raise DataError(f"an objective is not finite: {values}")
        self._keep(trial, model, values)
        return values

    def _set(self, trial: Trial, name: str, value: Any) -> None:
        self._patiently(lambda: trial.set_user_attr(name, value))

    def _keep(self, trial: Trial, model: Any, values: list[float]) -> None:
        """Keep the model of a trial that may be the best."""
        if self.folder is None or not isinstance(model, TitansEstimator) or not hasattr(model, "network_"):
            return
        if is_better(self.plan, values[0], self._patiently(lambda: best_value(self.study, self.plan))):
            try:
                model.save(self.folder / str(trial.number))
            except ModelError as error:
                warnings.warn(f"the model of trial {trial.number} is not kept: {error}", TitansSeqWarning, stacklevel=2)

    def _run(self, stack: ExitStack, trial: Trial, parameters: dict[str, Any]) -> Run:
        """Begin a run of its own, a child of the study's; without a server the work goes on untracked."""
        parent = self._patiently(lambda: self.study.user_attrs).get(PARENT)
        uri, name = self.tracking_uri if parent else OFF, f"trial {trial.number}"
        try:
            run = stack.enter_context(track(uri, self.study.study_name, name, parameters, parent))
        except TrackingError as error:
            self.tracking_uri = OFF  # every attempt would cost seconds
            warnings.warn(f"from trial {trial.number} on nothing is tracked: {error}", TitansSeqWarning, stacklevel=4)
            return stack.enter_context(track(OFF, name, name, {}))
        if run.run_id is not None:
            self._patiently(lambda: trial.set_user_attr(RUN, run.run_id))
            self.search.trainable.log_data(run)
        return run

    @contextmanager
    def _heartbeat(self, trial: Trial) -> Iterator[None]:
        """Give signs of life while the trial is worked on."""
        done = threading.Event()

        def beat() -> None:
            pause = float(self.plan.heartbeat)
            while not done.wait(pause):
                try:
                    self.storage.record_heartbeat(trial._trial_id)
                    pause = self.plan.heartbeat
                except Exception:  # what is lost by it comes back as a stale trial
                    self._note_silence()
                    pause = min(RETRY, self.plan.heartbeat)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _try(call: Callable[[], object]) -> None:
    """Call the storage, which may be gone; what is lost by it comes back as a stale trial."""
    with suppress(Exception):
        call()
