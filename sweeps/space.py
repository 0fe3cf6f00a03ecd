"""What a sweep varies: estimator parameters and their ranges, as Optuna's distributions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from titans_seq.errors import DataError

SHORT = 64
"""Whole numbers of a range that are all tried before a sweep begins."""
WHOLE_LIMIT = 2**53
"""Whole numbers from here on are not exact in a database."""


@dataclass(frozen=True)
class Space:
    """Names of estimator parameters and what each may be."""

    parameters: Mapping[str, BaseDistribution]

    def stored(self) -> dict[str, str]:
        """As a study keeps it."""
        return {name: distribution_to_json(d) for name, d in self.parameters.items()}

    @classmethod
    def of(cls, stored: Mapping[str, str]) -> Space:
        """What `stored` gave."""
        return cls({name: json_to_distribution(text) for name, text in stored.items()})

    @classmethod
    def parse(cls, ranges: Sequence[str]) -> Space:
        """From what a user writes: `NAME=1,2,4` are choices, `NAME=1:8` a range, `NAME=1e-4:1e-2:log` one in powers.

        Raises:
            DataError: a range cannot be understood, is empty, or stands there twice.
        """
        parameters: dict[str, BaseDistribution] = {}
        for name, values in _pairs(ranges, "a range reads NAME=1,2,4 or NAME=1:8 or NAME=1e-4:1e-2:log"):
            if name in parameters:
                raise DataError(f"{name} is to vary in two ways")
            parameters[name] = (
                _range(f"{name}={values}", values) if ":" in values else _choices(f"{name}={values}", values)
            )
        return cls(parameters)

    def values(self, name: str) -> list[Any]:
        """What a parameter may be: all choices or whole numbers of a short range, else both ends and some between."""
        d = self.parameters[name]
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        if isinstance(d, IntDistribution):
            return list(range(d.low, d.high + 1, max(d.step, (d.high - d.low) // SHORT)))
        assert isinstance(d, FloatDistribution)
        return [d.low, d.high]

    def floating(self, names: Collection[str]) -> Space:
        """The same, ranges of these names running over all numbers between their ends."""
        parameters = dict(self.parameters)
        for name, d in self.parameters.items():
            if name in names and isinstance(d, IntDistribution):
                parameters[name] = FloatDistribution(d.low, d.high, log=d.log)
        return Space(parameters)


def value(text: str) -> Any:
    """A parameter's value as a user writes it: a number, true, false, None, or a word (such as the variant "none")."""
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text == "None":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def assigned(settings: Sequence[str]) -> dict[str, Any]:
    """Parameters from NAME=VALUE.

    Raises:
        DataError: it reads otherwise, or a name stands there twice.
    """
    parameters: dict[str, Any] = {}
    for name, given in _pairs(settings, "a setting reads NAME=VALUE"):
        if name in parameters:
            raise DataError(f"{name} is set twice")
        parameters[name] = value(given)
    return parameters


def _pairs(texts: Sequence[str], form: str) -> Iterator[tuple[str, str]]:
    """Names and what stands behind their `=`; DataError, with the form it must have, where there is none."""
    for text in texts:
        name, said, given = (part.strip() for part in text.partition("="))
        if not name or not said or not given:
            raise DataError(f"{form}, not {text!r}")
        yield name, given


def _choices(text: str, values: str) -> BaseDistribution:
    options = [value(part) for part in values.split(",")]
    if "" in options or len(set(map(repr, options))) < len(options):
        raise DataError(f"choices must differ and none may be empty: {text!r}")
    return CategoricalDistribution(options)


def _range(text: str, values: str) -> BaseDistribution:
    parts = values.split(":")
    low, high = (value(part) for part in parts[:2])
    if len(parts) > 3 or (len(parts) == 3 and parts[2] != "log"):
        raise DataError(f"a range reads NAME=LOW:HIGH or NAME=LOW:HIGH:log, not {text!r}")
    log = len(parts) == 3
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)):
        raise DataError(f"both ends of a range must be numbers: {text!r}")
    if not low < high or not abs(low) < WHOLE_LIMIT or not abs(high) < WHOLE_LIMIT:
        raise DataError(f"a range must rise from a finite number to a higher one: {text!r}")
    if log and low <= 0:
        raise DataError(f"a range in powers must begin above 0: {text!r}")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _own(chunk_sizes: list[int], dims: list[int], slowest: float, fastest: float) -> Space:
    """The memory's depth, chunk size and gates, and what it lives in."""
    return Space(
        {
            "variant": CategoricalDistribution(["lmm", "mac", "mag", "mal"]),
            "memory_depth": IntDistribution(1, 3),
            "chunk_size": CategoricalDistribution(chunk_sizes),
            "momentum": CategoricalDistribution([True, False]),
            "forget": CategoricalDistribution([True, False]),
            "initial_step": FloatDistribution(0.01, 0.3, log=True),
            "dim": CategoricalDistribution(dims),
            "learning_rate": FloatDistribution(slowest, fastest, log=True),
        }
    )


SPACES: dict[str, Space] = {
    "timeseries": _own([1, 2, 4, 8], [32, 64, 128], 5e-4, 8e-3),
    "genomics": _own([4, 8, 16, 32], [16, 32, 64], 1e-3, 1e-2),
    "language": _own([8, 16, 32, 64], [64, 128, 192], 1e-3, 1e-2),
}
"""Domain -> what a sweep varies if it is not told otherwise."""
