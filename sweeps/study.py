"""Studies with their plans: made once, found again, never mistaken for another one."""

from __future__ import annotations

import warnings

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study

from titans_seq.errors import DataError, StorageError, SweepError
from titans_seq.sweeps.plan import Plan
from titans_seq.sweeps.storage import GRACE, open_storage

PLAN = "plan"
"""User attribute of a study: its plan."""
FORGIVEN = "forgiven"
"""User attribute of a study: failures of trials with a smaller number do not count, as somebody chose to go on."""
LONGEST_NAME = 200
"""Characters of a study's name."""


def check_name(name: str) -> str:
    """Return the name of a study, checked.

    Raises:
        DataError: it is empty, too long, or not printable.
    """
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or not name.strip():
        raise DataError(f"a study's name has 1 to {LONGEST_NAME} printable characters, not {name!r:.40}")
    return name


def find_resumable(storage: RDBStorage, name: str, plan: Plan, resume: bool) -> Study | None:
    """Return the study of that name, to go on with, or None if there is none.

    Raises:
        SweepError: the name is in use and `resume` is off, or the plan is another one, but for when the study ends.
    """
    if name not in optuna.get_all_study_names(storage):
        return None
    if _unfinished(study := optuna.load_study(study_name=name, storage=storage)):
        return study
    if not resume:
        raise SweepError(f"there is a study {name!r} already: go on with it by --resume, or choose another --study")
    different = read_plan(study).differences(plan)
    if different:
        raise SweepError(
            f"study {name!r} was begun with other values of {', '.join(different)}: choose another --study"
        )
    return study


def store_plan(storage: RDBStorage, name: str, plan: Plan, study: Study | None = None) -> Study:
    """Return a new study, or an earlier one, that holds its plan."""
    if study is None:
        directions = [direction for _, direction in plan.objectives]
        study = optuna.create_study(study_name=name, storage=storage, directions=directions)
        name_objectives(study, plan)
    elif trials := study.get_trials(deepcopy=False):
        study.set_user_attr(FORGIVEN, max(t.number for t in trials) + 1)
    study.set_user_attr(PLAN, plan.to_dict())
    return study


def _unfinished(study: Study) -> bool:
    """Return whether whoever made a study died before its plan stood in it."""
    return PLAN not in study.user_attrs and not study.get_trials(deepcopy=False)


def name_objectives(study: Study, plan: Plan) -> None:
    """Tell Optuna, its tables and its dashboard what the values of a trial are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([name for name, _ in plan.objectives])


def load_study(storage: RDBStorage, name: str) -> Study:
    """Return a study by name.

    Raises:
        StorageError: there is none.
    """
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        names = ", ".join(optuna.get_all_study_names(storage))
        raise StorageError(f"there is no study {name!r}; there is {names or 'none'}") from error
    return study


def open_study(url: str | None, name: str) -> tuple[Study, RDBStorage, Plan]:
    """Return a study by the URL of its storage and its name, the storage with the study's own heartbeat, and its plan.

    Raises:
        StorageError: the storage cannot be used, or has no such study.
    """
    storage = open_storage(url)
    study = load_study(storage, name)
    plan = read_plan(study)
    storage.heartbeat_interval, storage.grace_period = plan.heartbeat, GRACE * plan.heartbeat
    return study, storage, plan


def read_plan(study: Study) -> Plan:
    """Return the plan of a study.

    Raises:
        StorageError: it was not made by `store_plan`.
    """
    stored = study.user_attrs.get(PLAN)
    if not isinstance(stored, dict):
        raise StorageError(f"study {study.study_name!r} was made by another program")
    return Plan.from_dict(stored)
