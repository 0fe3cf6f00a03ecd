"""What a sweep varies: estimator parameters and their ranges, as Optuna's distributions, or a function of a trial."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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
from titans_seq.pipelines.settings import parse_value, split_pairs

SpaceFunction = Callable[[Any], Mapping[str, Any]]
"""Takes a trial, calls its `suggest_...`, and returns parameters of the estimator: for those that depend on others."""

SHORT = 64
"""Whole numbers of a range that are all tried before a sweep begins."""
WHOLE_LIMIT = 2**53
"""Whole numbers from here on are not exact in a database."""


@dataclass(frozen=True)
class Space:
    """Names of estimator parameters and what each may be."""

    parameters: Mapping[str, BaseDistribution]

    def to_dict(self) -> dict[str, str]:
        """Return the distributions as a study keeps them."""
        return {name: distribution_to_json(d) for name, d in self.parameters.items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, str]) -> Space:
        """Return the space that `to_dict` described."""
        return cls({name: json_to_distribution(text) for name, text in stored.items()})

    @classmethod
    def parse(cls, ranges: Sequence[str]) -> Space:
        """Read what a user writes: `NAME=1,2,4` are choices, `NAME=1:8` a range, `NAME=1e-4:1e-2:log` one in powers.

        Raises:
            DataError: a range cannot be understood, is empty, or stands there twice.
        """
        parameters: dict[str, BaseDistribution] = {}
        for name, values in split_pairs(ranges, "a range reads NAME=1,2,4 or NAME=1:8 or NAME=1e-4:1e-2:log"):
            if name in parameters:
                raise DataError(f"{name} is to vary in two ways")
            parameters[name] = (
                _range(f"{name}={values}", values) if ":" in values else _choices(f"{name}={values}", values)
            )
        return cls(parameters)

    @classmethod
    def from_ranges(cls, ranges: Mapping[str, Any]) -> Space:
        """Read what a mapping gives by name: Optuna's distributions, lists of choices, or texts as `parse` reads them.

        Raises:
            DataError: a range cannot be understood, or is empty.
        """
        parameters: dict[str, BaseDistribution] = {}
        for name, given in ranges.items():
            if isinstance(given, BaseDistribution):
                parameters[name] = given
            elif isinstance(given, list):
                parameters[name] = _categorical(f"{name}={given}", given)
            elif isinstance(given, str):
                parameters |= cls.parse([f"{name}={given}"]).parameters
            else:
                raise DataError(
                    f"{name} must be a distribution of Optuna, a list of choices, or a text such as '1:8', "
                    f"not {given!r:.80}"
                )
        return cls(parameters)

    def values(self, name: str) -> list[Any]:
        """Return what a parameter may be: all choices, all whole numbers of a short range, or both ends."""
        d = self.parameters[name]
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        if isinstance(d, IntDistribution):
            return list(range(d.low, d.high + 1, max(d.step, (d.high - d.low) // SHORT)))
        assert isinstance(d, FloatDistribution)
        return [d.low, d.high]

    def as_floats(self, names: Collection[str]) -> Space:
        """Return the space with the whole-number ranges of these names as ranges of all numbers between their ends."""
        parameters = dict(self.parameters)
        for name, d in self.parameters.items():
            if name in names and isinstance(d, IntDistribution):
                parameters[name] = FloatDistribution(d.low, d.high, log=d.log)
        return Space(parameters)


def _choices(text: str, values: str) -> BaseDistribution:
    return _categorical(text, [parse_value(part) for part in values.split(",")])


def _categorical(text: str, options: list[Any]) -> BaseDistribution:
    if not options or "" in options or len(set(map(repr, options))) < len(options):
        raise DataError(f"choices must differ and none may be empty: {text!r}")
    if len(options) == 1:
        raise DataError(f"one value is nothing to search: --set {text} fixes it")
    if not all(option is None or isinstance(option, bool | int | float | str) for option in options):
        raise DataError(f"choices must be numbers, words, true, false or None: {text!r}")
    return CategoricalDistribution(options)


def _range(text: str, values: str) -> BaseDistribution:
    parts = values.split(":")
    low, high = (parse_value(part) for part in parts[:2])
    if len(parts) > 3 or (len(parts) == 3 and parts[2] != "log"):
        raise DataError(f"a range reads NAME=LOW:HIGH or NAME=LOW:HIGH:log, not {text!r}")
    log = len(parts) == 3
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)):
        raise DataError(f"both ends of a range must be numbers: {text!r}")
    if low == high:
        raise DataError(f"one value is nothing to search: --set {text.partition('=')[0]}={low} fixes it")
    if not low < high or not abs(low) < WHOLE_LIMIT or not abs(high) < WHOLE_LIMIT:
        raise DataError(f"a range must rise from a finite number to a higher one: {text!r}")
    if log and low <= 0:
        raise DataError(f"a range in powers must begin above 0: {text!r}")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
