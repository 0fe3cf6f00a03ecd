"""Two groups of runs, paired by all that is the same in both: is one better, or is it chance?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from titans_seq.errors import DataError
from titans_seq.pipelines.settings import split_pairs

LEVEL = 0.95
"""Confidence of the interval."""


@dataclass(frozen=True)
class PairedTest:
    """What a metric's differences between pairs of runs say."""

    metric: str
    first: str
    """Settings of the first group."""
    second: str
    pairs: int
    unpaired: int
    """Runs of either group without a partner."""
    first_mean: float
    second_mean: float
    difference: float
    """Mean of second minus first."""
    low: float
    """Lower end of the 95 % interval of the mean difference, by Student's t."""
    high: float
    t_test: float
    """Probability of a difference as large by chance, by the paired t-test."""
    wilcoxon: float
    """The same by Wilcoxon's signed-rank test, exact, which takes nothing to be normal."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """What it says, in a line."""
        least = 2.0 ** (1 - self.pairs)
        note = f"; with {self.pairs} pairs Wilcoxon's test cannot go below {least:.2g}" if least > 0.05 else ""
        return (
            f"{self.metric}: {self.second} {self.second_mean:.4g}, {self.first} {self.first_mean:.4g}, difference "
            f"{self.difference:+.4g} (95 % from {self.low:+.4g} to {self.high:+.4g}) over {self.pairs} pairs; p "
            f"{self.t_test:.3g} by the paired t-test, {self.wilcoxon:.3g} by Wilcoxon's{note}"
        )


def compare_groups(found: list[Any], groups: tuple[str, str], metric: str) -> PairedTest:
    """Return the paired test of two groups among MLflow's runs, the newest first.

    Args:
        groups: what the runs of each have in common, as NAME=VALUE,NAME=VALUE. Runs that agree in all other parameters,
            the seed among them, are a pair; of several alike the newest counts.

    Raises:
        DataError: a group has no runs, there are fewer than two pairs, or the groups are the same.
    """
    wanted = [_settings(group) for group in groups]
    names = set(wanted[0]) | set(wanted[1])
    if wanted[0] == wanted[1]:
        raise DataError(f"both groups are {groups[0]}")
    sides = [_values(found, settings, names, metric) for settings in wanted]
    for side, group in zip(sides, groups, strict=True):
        if not side:
            raise DataError(f"no finished run with {group} has a metric {metric}")
    shared = sorted(set(sides[0]) & set(sides[1]))
    if len(shared) < 2:
        raise DataError(
            f"{len(shared)} of {len(sides[0])} runs with {groups[0]} and {len(sides[1])} with {groups[1]} agree in all "
            "else, the seed among it: at least 2 pairs are needed"
        )
    first, second = ([side[key] for key in shared] for side in sides)
    return PairedTest(
        metric=metric,
        first=groups[0],
        second=groups[1],
        unpaired=len(sides[0]) + len(sides[1]) - 2 * len(shared),
        **difference(first, second),
    )


def difference(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Return what two or more pairs of values say of the difference: the fields of `PairedTest` of those names."""
    from scipy import stats

    differences = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    count, mean = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    same = not differences.any()
    return {
        "pairs": count,
        "first_mean": float(np.mean(first)),
        "second_mean": float(np.mean(second)),
        "difference": mean,
        "low": mean - reach,
        "high": mean + reach,
        "t_test": 1.0 if same else 0.0 if error == 0 else float(2 * stats.t.sf(abs(mean) / error, count - 1)),
        "wilcoxon": 1.0 if same else float(stats.wilcoxon(differences).pvalue),
    }


def _settings(group: str) -> dict[str, str]:
    form = "a group reads NAME=VALUE or NAME=VALUE,NAME=VALUE"
    return dict(split_pairs(group.split(","), form))


def _values(found: list[Any], settings: Mapping[str, str], names: set[str], metric: str) -> dict[Any, float]:
    """Return the metric of each run with these settings, by all of its other parameters."""
    values: dict[Any, float] = {}
    for run in reversed(found):
        given = run.data.params
        if metric in run.data.metrics and all(given.get(name) == value for name, value in settings.items()):
            key = tuple(sorted((name, value) for name, value in given.items() if name not in names))
            values[key] = run.data.metrics[metric]
    return values
