"""The plan of a study; it stands in the study itself, so that a worker anywhere needs only its name and storage."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from titans_seq.domains.registry import FIXED, domain_of, find_domain
from titans_seq.domains.task import Task
from titans_seq.errors import DataError, SweepError
from titans_seq.sweeps.objectives import LOSS, OBJECTIVES
from titans_seq.sweeps.samplers import OWN, PRUNER, SAMPLER
from titans_seq.sweeps.space import Space

GOALS = ("trials", "max_failures", "max_retries", "heartbeat", "data")
"""Fields in which a study may go on otherwise than it began; of the data, the content counts."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Data, estimator and space of a study, and when it is done."""

    domain: str | None = None
    """Name of a domain of the registry; None: an estimator that only the process knows that began the study."""
    estimator: str | None = None
    """That estimator, as text."""
    data: str | None = None
    """Path of a file or folder; None: the domain's embedded data, or those of the process that began the study."""
    data_digest: str = ""
    """Hash of their content."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the domain's task, such as the horizon of forecasts."""
    test_fraction: float = 0.2
    """Share that no trial sees; the winner is scored on it."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Estimator parameters that are the same in all trials."""
    space: Mapping[str, str] | None = field(default_factory=dict)
    """What varies, see `Space.to_dict`; None: a function says, which only the process knows that began the study."""
    objectives: tuple[tuple[str, str], ...] = ((LOSS, "minimize"),)
    """Names of what trials are judged by, and which way is better."""
    sampler: str = SAMPLER
    """Class of Optuna that chooses what is tried."""
    pruner: str = PRUNER
    """Class of Optuna that gives up a trial by its validation losses so far."""
    seed: int = 0
    """Of the search, and of weights and batches in every trial."""
    trials: int = 20
    """Finished (complete or pruned) trials that end the study."""
    max_failures: int = 5
    """Failed trials in a row that end the study."""
    max_retries: int = 3
    """Times that the parameters of a killed trial are tried again."""
    heartbeat: int = 10
    """Seconds between two signs of life of a trial; after three without, it counts as dead."""

    def __post_init__(self) -> None:
        known = domain_of(self.estimator or "") if self.domain is None else find_domain(self.domain)
        is_loss = self.objectives[0][0] == LOSS
        fixed = (*FIXED, *(known.fixed if known is not None and (self.domain or is_loss) else ()))
        for name in ("trials", "max_failures", "heartbeat"):
            if getattr(self, name) < 1:
                raise DataError(f"{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}")
        if self.max_retries < 0 or self.seed < 0:
            raise DataError("max-retries and seed must be at least 0")
        for name in self.space or ():
            if name in fixed:
                raise DataError(f"{name} changes what the validation loss means: it can be set, not varied")
            if name in self.fixed:
                raise DataError(f"{name} is set and varied at once")

    @property
    def ranges(self) -> Space | None:
        """Return what varies; None if a function says."""
        return None if self.space is None else Space.from_dict(self.space)

    @property
    def data_name(self) -> str:
        """What the data are called in reports."""
        if self.data is not None:
            return Path(self.data).name
        return "embedded" if self.domain else f"in memory, {self.data_digest[:12]}"

    @property
    def is_open(self) -> bool:
        """Whether any process that reads the plan can work on the study."""
        own = OWN in (self.sampler, self.pruner) or any(name not in OBJECTIVES for name, _ in self.objectives)
        return self.domain is not None and self.space is not None and not own

    @property
    def has_one_objective(self) -> bool:
        """Whether one trial is best; otherwise several are, each in its own way."""
        return len(self.objectives) == 1

    def open(self) -> Task:
        """Read and split the data.

        Raises:
            DataError: they cannot be used, or are not those that the study began with.
            SweepError: only the process that began the study can work on it.
        """
        if not self.is_open or self.domain is None:
            raise SweepError(
                "this study varies objects of the Python program that began it: only that program can go on with it"
            )
        task = open_task(self.domain, self.data, self.test_fraction, self.seed, self.options)
        if task.digest != self.data_digest:
            raise DataError(
                f"{self.data or task.name} is not what the study began with: its digest is {task.digest[:12]}, "
                f"not {self.data_digest[:12]}"
            )
        return task

    def parameters(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters of the estimator of a trial; of an estimator that a program gave, those that vary."""
        own = {} if self.domain is None else {"random_state": self.seed}
        return own | dict(self.fixed) | dict(chosen)

    def check(self, build: Callable[[dict[str, Any]], object], most: int = 1000) -> None:
        """Raise DataError unless an estimator takes every combination of values, or some drawn from many.

        Args:
            build: raises DataError for parameters that cannot be used.
            most: combinations that are drawn.
        """
        if (space := self.ranges) is None:
            return
        names = list(space.parameters)
        choices = [space.values(name) for name in names]
        if math.prod(map(len, choices)) <= most:
            combinations: Iterable[tuple[Any, ...]] = itertools.product(*choices)
        else:
            rng = random.Random(0)
            ends = [*zip(*([c[0], c[-1]] for c in choices), strict=True)]
            combinations = [*ends, *(tuple(rng.choice(c) for c in choices) for _ in range(most))]
        for values in combinations:
            chosen = dict(zip(names, values, strict=True))
            try:
                build(self.parameters(chosen))
            except DataError as error:
                said = ", ".join(f"{name} {value!r}" for name, value in chosen.items())
                raise DataError(f"{error} (tried with {said})" if chosen else str(error)) from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a study keeps them: lists, where there were tuples."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=_to_plain))
        return plain

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Plan:
        """Return the plan that `to_dict` described.

        Raises:
            DataError: it was written by another version, or by something else.
        """
        if set(stored) != {f.name for f in fields(cls)}:
            raise DataError("the study's plan is of another version")
        return cls(**(dict(stored) | {"objectives": tuple(map(tuple, stored["objectives"]))}))

    def differences(self, other: Plan) -> list[str]:
        """Return the names of what another plan of the same study must not change, but does."""
        mine, its = self.to_dict(), other.to_dict()
        return [name for name in mine if name not in GOALS and mine[name] != its[name]]


def _to_plain(value: Any) -> Any:
    """Return NumPy's scalars as Python's; nothing else that JSON does not know can stand in a study."""
    if isinstance(value, np.generic):
        return value.item()
    raise DataError(f"what is the same in every trial must be plain values, not {value!r:.80}")


def make_plan(
    domain: str, data: Path | None, ranges: Space | None, task_options: Mapping[str, Any], **options: Any
) -> tuple[Plan, Task]:
    """Return the plan for a file, and its task.

    Args:
        ranges: what varies; an empty space is the domain's own; None if a function says.
        task_options: options of the domain's task; those that it does not have must be None, which leaves them out.
        options: further fields of `Plan`.

    Raises:
        DataError: there is no such domain, or data or options cannot be used.
    """
    known = find_domain(domain)
    names = {f.name for f in fields(known.load_task().Options)}
    chosen = {name: value for name, value in task_options.items() if value is not None}
    if unknown := set(chosen) - names:
        raise DataError(f"the domain {domain} has no option {min(unknown)}")
    if twice := set(task_options) & names & set(options.get("fixed", {})):
        raise DataError(f"{min(twice)} has an option of its own: --{min(twice).replace('_', '-')}")
    space: Space | None
    if ranges is None:
        space = None
    elif ranges.parameters:
        defaults = known.load_estimator()().get_params()
        space = ranges.as_floats({name for name, default in defaults.items() if isinstance(default, float)})
    else:
        fixed = options.get("fixed", {})
        space = Space.from_ranges({name: text for name, text in known.space.items() if name not in fixed})
    path = None if data is None else str(data.resolve())
    stored = None if space is None else space.to_dict()
    plan = Plan(domain=domain, data=path, options=chosen, space=stored, **options)
    task = open_task(domain, path, plan.test_fraction, plan.seed, chosen)
    return replace(plan, data_digest=task.digest), task


def open_task(domain: str, data: str | None, test_fraction: float, seed: int, options: Mapping[str, Any]) -> Task:
    """Read and split data with the task of a domain."""
    kind = find_domain(domain).load_task()
    path = None if data is None else Path(data)
    return kind(kind.Options(data=path, test_fraction=test_fraction, seed=seed, **options))
