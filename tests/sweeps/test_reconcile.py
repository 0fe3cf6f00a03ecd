"""What dead workers leave behind is found again, whoever died and when."""

import subprocess
import sys
import threading
import time

import optuna
import pytest
from optuna.trial import TrialState

from titans_seq.sweeps.reconcile import (
    ATTEMPT,
    ERROR,
    RETRY_OF,
    WORKER,
    Counts,
    failures_in_a_row,
    reconcile,
)
from titans_seq.sweeps.storage import lock_study, open_storage

RANGES = {"x": optuna.distributions.FloatDistribution(0, 1)}


@pytest.fixture
def storage(tmp_path):
    return open_storage(f"sqlite:///{tmp_path / 'sweeps.db'}", heartbeat=1, fresh=True)


@pytest.fixture
def study(storage):
    return optuna.create_study(storage=storage, study_name="s")


def asked(study, storage, alive=True):
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = study.ask(RANGES)
    if alive:
        storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr(WORKER, "here")
    return trial


def test_what_was_failed_but_not_enqueued_is_enqueued_once(study, storage):
    """The first hole: marked as failed, and then the one who marked it died."""
    trial = asked(study, storage)
    study.tell(trial, state=TrialState.FAIL)
    for _ in range(3):
        trials = reconcile(study, max_retries=3)
    assert [t.state for t in trials] == [TrialState.FAIL, TrialState.WAITING]
    again = asked(study, storage)
    assert again.params == trial.params
    assert again.user_attrs[RETRY_OF] == trial.number
    assert again.user_attrs[ATTEMPT] == 1


def test_retries_end(study, storage):
    for attempt in range(4):
        trial = asked(study, storage)
        assert trial.user_attrs.get(ATTEMPT, 0) == attempt
        study.tell(trial, state=TrialState.FAIL)
        trials = reconcile(study, max_retries=3)
    assert Counts.from_trials(trials).waiting == 0
    assert Counts.from_trials(trials).lost == 4


@pytest.mark.slow
def test_a_trial_without_signs_of_life_is_lost(study, storage):
    trial = asked(study, storage)
    assert Counts.from_trials(reconcile(study, 3)).running == 1
    time.sleep(5)
    counts = Counts.from_trials(reconcile(study, 3))
    assert (counts.running, counts.lost, counts.waiting) == (0, 1, 1)
    # The second hole: the worker was alive after all, and ends without harm; the second try is the one that counts.
    study.tell(trial, 0.5, skip_if_finished=True)
    assert study.trials[trial.number].state is TrialState.FAIL
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trial.report(0.5, 0)


def test_a_trial_whose_worker_died_before_its_first_sign_of_life(study, storage):
    """Optuna would take it for running for ever."""
    asked(study, storage, alive=False)
    counts = Counts.from_trials(reconcile(study, 3))
    assert (counts.running, counts.lost, counts.waiting) == (0, 0, 1)  # nobody had taken it


def test_a_retry_whose_worker_died_while_it_was_taken(study, storage):
    """Its parameters do not stand in the trial yet, only what they are to be."""
    first = asked(study, storage)
    study.tell(first, state=TrialState.FAIL)
    reconcile(study, 3)
    study._pop_waiting_trial_id()
    counts = Counts.from_trials(reconcile(study, 3))
    assert (counts.running, counts.lost, counts.waiting) == (0, 1, 1)
    again = asked(study, storage)
    assert again.params == first.params
    assert again.user_attrs[ATTEMPT] == 2


def test_errors_are_not_tried_again_and_count_in_a_row(study, storage):
    for value in (None, 0.5, None, None):
        trial = asked(study, storage)
        if value is None:
            trial.set_user_attr(ERROR, "no")
        study.tell(trial, value, state=None if value else TrialState.FAIL)
    trials = reconcile(study, 3)
    counts = Counts.from_trials(trials)
    assert (counts.failed, counts.waiting, counts.complete) == (3, 0, 1)
    asked(study, storage)
    read, gone = Counts.from_storage(storage, "s")
    assert read == Counts.from_trials(study.trials)
    assert [t.number for t in gone] == [0, 2, 3]
    assert [t.number for t in failures_in_a_row(trials)] == [2, 3]
    assert [t.number for t in failures_in_a_row(trials, forgiven=3)] == [3]


def test_the_lock_is_held_alone_and_released_by_a_kill(storage, tmp_path):
    code = (
        "import time; from titans_seq.sweeps.storage import lock_study, open_storage\n"
        f"with lock_study(open_storage('sqlite:///{tmp_path / 'sweeps.db'}'), 's'):\n"
        " print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        began = time.monotonic()
        threading.Timer(1, holder.kill).start()
        with lock_study(storage, "s"):
            assert time.monotonic() - began > 0.9
        with lock_study(storage, "another one"):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_signs_of_life_do_not_depend_on_time_zones(postgresql, monkeypatch):
    monkeypatch.setenv("PGTZ", "UTC")
    here = open_storage(postgresql, heartbeat=5, fresh=True)
    study = optuna.create_study(storage=here, study_name="zones")
    asked(study, here)
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    there = open_storage(postgresql, heartbeat=5)
    assert Counts.from_trials(reconcile(optuna.load_study(study_name="zones", storage=there), 3)).running == 1
    assert Counts.from_storage(there, "zones")[0] == Counts.from_trials(study.trials)


def test_a_missing_driver_is_named(monkeypatch):
    from titans_seq.errors import StorageError

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match=r"pip install 'titans-seq\[postgresql\]'"):
        open_storage("postgresql://a@127.0.0.1/b")
