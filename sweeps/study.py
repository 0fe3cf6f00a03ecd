"""A study with its plan: made once, found again, never mistaken for another one."""

from __future__ import annotations

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study

from titans_seq.errors import DataError, StorageError, SweepError
from titans_seq.sweeps.plan import Plan

PLAN = "plan"
"""User attribute of a study: what it is about."""
FORGIVEN = "forgiven"
"""User attribute of a study: failures of trials with a smaller number do not count, as somebody chose to go on."""
LONGEST_NAME = 200
"""Characters of a study's name."""


def checked_name(name: str) -> str:
    """A study's name.

    Raises:
        DataError: it is empty, too long, or not printable.
    """
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or not name.strip():
        raise DataError(f"a study's name has 1 to {LONGEST_NAME} printable characters, not {name!r:.40}")
    return name


def earlier(storage: RDBStorage, name: str, plan: Plan, resume: bool) -> Study | None:
    """The study of that name that goes on, or None if there is none.

    Raises:
        SweepError: the name is in use and `resume` is off, or the plan is another one, but for when the study ends.
    """
    if name not in optuna.get_all_study_names(storage):
        return None
    if _unfinished(study := optuna.load_study(study_name=name, storage=storage)):
        return study
    if not resume:
        raise SweepError(f"there is a study {name!r} already: go on with it by --resume, or choose another --study")
    different = plan_of(study).differences(plan)
    if different:
        raise SweepError(
            f"study {name!r} was begun with other values of {', '.join(different)}: choose another --study"
        )
    return study


def planned_study(storage: RDBStorage, name: str, plan: Plan, study: Study | None = None) -> Study:
    """A new study, or an earlier one, that holds its plan."""
    if study is None:
        study = optuna.create_study(study_name=name, storage=storage)
    elif trials := study.get_trials(deepcopy=False):
        study.set_user_attr(FORGIVEN, max(t.number for t in trials) + 1)
    study.set_user_attr(PLAN, plan.stored())
    return study


def _unfinished(study: Study) -> bool:
    """Whether whoever made a study died before its plan stood in it."""
    return PLAN not in study.user_attrs and not study.get_trials(deepcopy=False)


def found(storage: RDBStorage, name: str) -> Study:
    """A study by name.

    Raises:
        StorageError: there is none.
    """
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        names = ", ".join(optuna.get_all_study_names(storage))
        raise StorageError(f"there is no study {name!r}; there is {names or 'none'}") from error
    study.pruner = pruner(plan_of(study))
    return study


def plan_of(study: Study) -> Plan:
    """What a study is about.

    Raises:
        StorageError: it was not made by `planned_study`.
    """
    stored = study.user_attrs.get(PLAN)
    if not isinstance(stored, dict):
        raise StorageError(f"study {study.study_name!r} was made by another program")
    return Plan.of(stored)


def pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """What gives up a trial that falls behind: after five trials, and never in its first epoch."""
    return optuna.pruners.MedianPruner(5, 1) if plan.prune else optuna.pruners.NopPruner()
