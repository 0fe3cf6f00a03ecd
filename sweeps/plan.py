"""What a study is about; it stands in the study itself, so that a worker anywhere needs only its name and storage."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError
from titans_seq.sweeps.space import SPACES, Space
from titans_seq.sweeps.tasks import MEASURE, TASKS, Task, digest

GOALS = ("trials", "max_failures", "max_retries", "heartbeat", "data")
"""Fields in which a study may go on otherwise than it began; of the data, the content counts."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Data, estimator and space of a study, and when it is done."""

    domain: str
    """timeseries, genomics or language."""
    data: str | None = None
    """Path of a file or folder; None: the domain's embedded data."""
    data_digest: str = "embedded"
    """Of its content."""
    horizon: int = 24
    """Steps to forecast; for time series only."""
    test_fraction: float = 0.2
    """Share that no trial sees; the winner is scored on it."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Estimator parameters that are the same in all trials."""
    space: Mapping[str, str] = field(default_factory=dict)
    """What varies, see `Space.stored`."""
    seed: int = 0
    """Of the search, and of weights and batches in every trial."""
    prune: bool = True
    """Give up a trial whose validation loss lies above the median of the others at that epoch."""
    trials: int = 20
    """Finished (complete or pruned) trials that end the study."""
    max_failures: int = 5
    """Failed trials in a row that end the study."""
    max_retries: int = 3
    """Times that the parameters of a killed trial are tried again."""
    heartbeat: int = 10
    """Seconds between two signs of life of a trial; after three without, it counts as dead."""

    def __post_init__(self) -> None:
        if self.domain not in TASKS:
            raise DataError(f"domain must be one of {', '.join(TASKS)}, not {self.domain!r}")
        for name in ("horizon", "trials", "max_failures", "heartbeat"):
            if getattr(self, name) < 1:
                raise DataError(f"{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}")
        if self.max_retries < 0 or self.seed < 0:
            raise DataError("max-retries and seed must be at least 0")
        if not 0 < self.test_fraction <= 0.5:
            raise DataError(f"test-fraction must lie above 0 and be at most 0.5, not {self.test_fraction}")
        for name in self.space:
            if name in MEASURE:
                raise DataError(f"{name} changes what the validation loss means: it can be set, not varied")
            if name in self.fixed:
                raise DataError(f"{name} is set and varied at once")
        if "horizon" in self.fixed:
            raise DataError("horizon has an option of its own: --horizon")

    @property
    def ranges(self) -> Space:
        """What varies."""
        return Space.of(self.space)

    def open(self) -> Task:
        """The data, read and split.

        Raises:
            DataError: they cannot be used, or are not those that the study began with.
        """
        path = None if self.data is None else Path(self.data)
        if (found := digest(path)) != self.data_digest:
            raise DataError(f"{self.data} is not what the study began with: its digest is {found[:12]}, "
                            f"not {self.data_digest[:12]}")  # fmt: skip
        return TASKS[self.domain](path, self.test_fraction, self.seed, self.horizon)

    def parameters(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """All that the estimator of a trial is made with."""
        return {"random_state": self.seed} | dict(self.fixed) | dict(chosen)

    def check(self, task: Task) -> None:
        """Raise DataError unless the estimator takes every combination of values, or a thousand drawn from many."""
        space = self.ranges
        names, most = list(space.parameters), 1000
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
                task.model(self.parameters(chosen))
            except DataError as error:
                said = ", ".join(f"{name} {value!r}" for name, value in chosen.items())
                raise DataError(f"{error} (tried with {said})" if chosen else str(error)) from error

    def stored(self) -> dict[str, Any]:
        """As a study keeps it."""
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Plan:
        """What `stored` gave.

        Raises:
            DataError: it was written by another version, or by something else.
        """
        if set(stored) != {f.name for f in fields(cls)}:
            raise DataError("the study's plan is of another version")
        return cls(**stored)

    def differences(self, other: Plan) -> list[str]:
        """Names of what another plan of the same study must not change, but does."""
        mine, its = self.stored(), other.stored()
        return [name for name in mine if name not in GOALS and mine[name] != its[name]]


def planned(domain: str, data: Path | None, space: Space, **options: Any) -> Plan:
    """A plan for a file; an empty space is the domain's own."""
    if domain not in TASKS:
        raise DataError(f"domain must be one of {', '.join(TASKS)}, not {domain!r}")
    if space.parameters:
        defaults = TASKS[domain].estimator()().get_params()
        chosen = space.floating({name for name, default in defaults.items() if isinstance(default, float)})
    else:
        fixed = options.get("fixed", {})
        chosen = Space({name: d for name, d in SPACES[domain].parameters.items() if name not in fixed})
    path = None if data is None else str(data.resolve())
    return Plan(domain=domain, data=path, data_digest=digest(data), space=chosen.stored(), **options)
