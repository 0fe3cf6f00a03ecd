"""Put right what dead workers left behind; run under the lock, before every new trial.

Optuna marks the trials of dead workers as failed and only then enqueues them anew: whoever dies in between loses them.
It also never notices a trial whose worker died before its first sign of life. Here a failed trial is enqueued anew
whenever it is found without a successor, so nothing depends on who marked it.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

ERROR = "error"
"""User attribute of a trial whose estimator raised: it is not tried again."""
WORKER = "worker"
"""User attribute of a trial that a worker has taken; set under the lock, right behind the first sign of life."""
INTERRUPTED = "interrupted"
"""User attribute of a trial whose worker was told to end: that is no attempt."""
RETRY_OF = "retry_of"
"""User attribute: number of the trial whose parameters are tried again."""
ATTEMPT = "attempt"
"""User attribute: how many times these parameters were tried before."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Counts:
    """How many trials of a study ended in which way."""

    complete: int
    pruned: int
    running: int
    waiting: int
    failed: int
    """Ended by an error."""
    lost: int
    """Ended with the worker that had taken them; their parameters were tried again, unless too often."""

    @property
    def finished(self) -> int:
        """Complete or pruned."""
        return self.complete + self.pruned

    @classmethod
    def from_trials(cls, trials: Sequence[FrozenTrial]) -> Counts:
        """Count trials."""
        states = Counter(t.state.name for t in trials)
        return cls._from_states(states, [t for t in trials if t.state is TrialState.FAIL])

    @classmethod
    def from_storage(cls, storage: RDBStorage, study: str) -> tuple[Counts, list[FrozenTrial]]:
        """Return the counts of a study, and its trials that ended by an error or with their worker, quickly."""
        number = storage.get_study_id_from_name(study)
        with storage.engine.connect() as connection:
            rows = connection.execute(
                sqlalchemy.text("select state, count(*) from trials where study_id = :number group by state"),
                {"number": number},
            )
            states = Counter({getattr(state, "name", str(state)): int(count) for state, count in rows})
        gone = storage.get_all_trials(number, deepcopy=False, states=(TrialState.FAIL,)) if states["FAIL"] else []
        return cls._from_states(states, gone), list(gone)

    @classmethod
    def _from_states(cls, states: Counter[str], gone: Sequence[FrozenTrial]) -> Counts:
        failed = sum(ERROR in t.user_attrs for t in gone)
        return cls(
            complete=states["COMPLETE"],
            pruned=states["PRUNED"],
            running=states["RUNNING"],
            waiting=states["WAITING"],
            failed=failed,
            lost=sum(WORKER in t.user_attrs and ERROR not in t.user_attrs for t in gone),
        )


def reconcile(study: Study, max_retries: int) -> list[FrozenTrial]:
    """Mark trials without a sign of life as failed, and enqueue what was lost anew.

    Returns:
        all trials of the study, as they are afterwards.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    release_trials(study, ())
    trials = study.get_trials(deepcopy=False)
    retried = {t.user_attrs.get(RETRY_OF) for t in trials}
    lost = [
        t
        for t in trials
        if t.state is TrialState.FAIL
        and ERROR not in t.user_attrs
        and trial_parameters(t)
        and t.number not in retried
        and (INTERRUPTED in t.user_attrs or t.user_attrs.get(ATTEMPT, 0) < max_retries)
    ]
    for trial in lost:
        attempt = trial.user_attrs.get(ATTEMPT, 0) + (INTERRUPTED not in trial.user_attrs)
        study.enqueue_trial(trial_parameters(trial), user_attrs={RETRY_OF: trial.number, ATTEMPT: attempt})
    return list(study.get_trials(deepcopy=False)) if lost else list(trials)


def worker_name(process: int | None = None) -> str:
    """Return the name of a process of this machine by its number, as `WORKER` holds it; None: of this one."""
    return f"{socket.gethostname()}:{os.getpid() if process is None else process}"


def release_trials(study: Study, workers: Collection[str]) -> None:
    """Mark the trials of workers that have ended as failed, under the lock: nobody waits for their sign of life."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(WORKER) in (None, *workers):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def trial_parameters(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters of a trial, also of a retry whose worker died before it had taken all of them over."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def failures_in_a_row(trials: Sequence[FrozenTrial], forgiven: int = 0) -> list[FrozenTrial]:
    """Return the latest trials, if they ended by an error; those before number `forgiven` do not count."""
    ended = [t for t in trials if t.number >= forgiven and (t.state in FINISHED or ERROR in t.user_attrs)]
    row: list[FrozenTrial] = []
    for trial in sorted(ended, key=lambda t: t.number, reverse=True):  # numbers: clocks of machines differ
        if trial.state in FINISHED:
            break
        row.insert(0, trial)
    return row
