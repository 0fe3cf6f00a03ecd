"""A study with its plan: made once, found again, never mistaken for another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study

from titans_seq.errors import DataError, StorageError, SweepError
from titans_seq.sweeps.plan import Plan
from titans_seq.sweeps.space import value

PLAN = "plan"
"""User attribute of a study: what it is about."""


def started(storage: RDBStorage, name: str, plan: Plan, resume: bool) -> Study:
    """A new study, or with `resume` the one of that name if it is of the same plan, but for when it ends.

    Raises:
        SweepError: the name is in use, or the plan is another one.
    """
    if name not in optuna.get_all_study_names(storage):
        study = optuna.create_study(study_name=name, storage=storage, pruner=pruner(plan))
    else:
        if not resume:
            raise SweepError(f"there is a study {name!r} already: go on with it by --resume, or choose another --study")
        study = found(storage, name)
        different = plan_of(study).differences(plan)
        if different:
            raise SweepError(f"study {name!r} was begun with other values of {', '.join(different)}: choose another "
                             "--study")  # fmt: skip
    study.set_user_attr(PLAN, plan.stored())
    return study


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
        StorageError: it was not made by `started`.
    """
    stored = study.user_attrs.get(PLAN)
    if not isinstance(stored, dict):
        raise StorageError(f"study {study.study_name!r} was made by another program")
    return Plan.of(stored)


def pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """What gives up a trial that falls behind: after five trials, and never in its first epoch."""
    return optuna.pruners.MedianPruner(5, 1) if plan.prune else optuna.pruners.NopPruner()


def assigned(settings: Sequence[str]) -> dict[str, Any]:
    """Parameters from NAME=VALUE.

    Raises:
        DataError: it reads otherwise, or a name stands there twice.
    """
    parameters: dict[str, Any] = {}
    for text in settings:
        name, said, given = (part.strip() for part in text.partition("="))
        if not name or not said or not given:
            raise DataError(f"a setting reads NAME=VALUE, not {text!r}")
        if name in parameters:
            raise DataError(f"{name} is set twice")
        parameters[name] = value(given)
    return parameters
