"""Covariates: columns of X, known in the past only or ahead too, and the calendar.

Axes: S series, T steps, K covariates, L look-back, H horizon.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from titans_seq.domains.timeseries.calendars import CALENDAR
from titans_seq.domains.timeseries.encoding import Levels, column_names, encode, find_levels
from titans_seq.domains.timeseries.observe import check_index, select_columns, to_matrix
from titans_seq.domains.timeseries.panel import ID, TIME, Panel, name_column, order_by_time, split_series, to_frame
from titans_seq.domains.timeseries.prepare import Scaling
from titans_seq.domains.timeseries.static import Static, read_static
from titans_seq.errors import DataError

CovariateValues = list[NDArray[np.float32]]
"""Per series the values of X (T + H, K), of its T steps and the H behind them; NaN where missing."""


@dataclass(frozen=True)
class Covariates:
    """Names of the covariates of a model, and their scale over all series."""

    past: tuple[str, ...]
    """Columns of X known up to the end of the history, and static covariates behind them."""
    future: tuple[str, ...]
    """Columns of X known over the horizon too."""
    scaling: Scaling
    """Scale of all, (1, K)."""
    levels: Levels = field(default_factory=dict)
    """Columns of X that hold text; each of their values is a covariate."""
    static: Static = field(default_factory=Static)
    """What does not change within a series."""

    @property
    def names(self) -> list[str]:
        """Return the covariates in the order of their values."""
        return [*self.past, *self.future]

    @property
    def given(self) -> list[str]:
        """Return those that X gives, where columns of text have become columns of numbers."""
        return [name for name in self.names if name not in self.static.names]

    def beside(self, panel: Panel, values: CovariateValues) -> CovariateValues:
        """Return the values of X with the static covariates beside them."""
        place = len(self.past) - len(self.static.names)
        return self.static.beside(panel.names, values, place)

    def matrix(self, values: NDArray[np.float32]) -> Tensor:
        """Return X's values (T, K) on their scale."""
        (scaled,) = self.scaling.apply([torch.from_numpy(values)])
        return scaled


def check_covariates(future_covariates: Sequence[str] | None, calendar: bool | str | Sequence[str]) -> None:
    """Raise ValueError unless the parameters of these names can be used."""
    names = () if future_covariates is None else future_covariates
    if isinstance(names, str) or not np.iterable(names) or len(set(names)) < len(names):
        raise ValueError(f"future_covariates must be different names of columns, not {names!r}")
    if not isinstance(calendar, bool) and calendar != "auto":
        chosen = [calendar] if isinstance(calendar, str) or not np.iterable(calendar) else calendar
        unknown = [name for name in chosen if name not in CALENDAR]
        if unknown:
            raise ValueError(
                f"calendar must be 'auto', True, False or some of {', '.join(CALENDAR)}, not {unknown[0]!r}"
            )


def read_covariates(
    X: Any, panel: Panel, horizon: int, future_covariates: Sequence[str] | None, static: Any = None
) -> tuple[Covariates | None, CovariateValues]:
    """Return the covariates of a fit and their values; None and no values if there are none.

    Args:
        future_covariates, static: see `TitansForecaster`.

    Raises:
        DataError: X does not belong to the panel, lacks a column that is to be known ahead, or has an empty one.
    """
    ahead = () if future_covariates is None else tuple(future_covariates)
    fixed, levels, past = read_static(static, panel), Levels(), list[str]()
    if X is None:
        if ahead:
            raise DataError(f"X is needed: it holds {', '.join(ahead)}, which future_covariates names")
        if not fixed.names:
            return None, []
        known = _no_columns(panel, horizon)
    else:
        X = to_frame(X, "X")
        stamped = (ID, TIME) if {ID, TIME} <= set(X.columns) else ()
        names = [name_column(c) for c in X.columns if c not in stamped]
        for name in ahead:
            if name not in names:
                raise DataError(f"X has no column {name!r}, which future_covariates names; it has {', '.join(names)}")
        levels = find_levels(X, names)
        past = [c for n in names if n not in ahead for c in column_names(n, levels)]
        ahead = tuple(c for n in ahead for c in column_names(n, levels))
        for name in (*names, *past, *ahead):
            if name in panel.channels or name in fixed.names:
                raise DataError(f"column {name!r} is both in X and in {'y' if name in panel.channels else 'static'}")
        known = read_columns(X, panel, [*past, *ahead], horizon, levels)
        history = [v[: len(s.index)] for v, s in zip(known, panel.series, strict=True)]
        for place, name in enumerate([*past, *ahead]):
            if not any(np.isfinite(v[:, place]).any() for v in history):
                raise DataError(f"X has no value of {name!r} in the time of y")
    known = fixed.beside(panel.names, known, len(past))
    return Covariates((*past, *fixed.names), ahead, measure_scale(panel, known), levels, fixed), known


def _no_columns(panel: Panel, horizon: int) -> CovariateValues:
    return [np.zeros((len(s.index) + horizon, 0), np.float32) for s in panel.series]


def measure_scale(panel: Panel, known: CovariateValues) -> Scaling:
    """Return the scale of X's values up to the end of each series, over all series, (1, K)."""
    values = [v[: len(s.index)] for v, s in zip(known, panel.series, strict=True)]
    return Scaling.from_series([torch.from_numpy(np.concatenate(values))])


def read_columns(X: Any, panel: Panel, names: list[str], horizon: int, levels: Levels) -> CovariateValues:
    """Return the named columns of X, which must be all of them, on each series' grid and `horizon` steps on.

    Args:
        names: where columns of text have become columns of numbers.
        levels: of the columns of text.

    Raises:
        DataError: another layout, a series or column missing or unknown, stamps that do not fit, text or infinity.
    """
    groups, long = split_series(encode(to_frame(X, "X"), levels))
    if long != (panel.layout == "long"):
        raise DataError(f"X must be a {panel.layout} frame, as y")
    check_index(panel, groups[0][1].index)
    found = dict(groups)
    values = []
    for series in panel.series:
        label = f" of series {series.name!r}" if long else ""
        if series.name not in found:
            raise DataError(f"X lacks series {series.name!r}")
        table = order_by_time(select_columns(found[series.name], names), series.name)
        index = pd.DatetimeIndex(table.index)
        if str(index.tz) != str(series.index.tz):
            raise DataError(f"the time stamps of X{label} are in time zone {index.tz}, those of y in {series.index.tz}")
        grid = pd.DatetimeIndex(series.index.append(panel.future(series.index, horizon)))
        within = index[(index >= grid[0]) & (index <= grid[-1])]
        strange = within[~within.isin(grid)]
        if len(strange):
            stamp = panel.label(strange[0])
            raise DataError(f"{stamp}, a time stamp of X{label}, is no step of the frequency {panel.freq.freqstr}")
        rows = index.get_indexer(grid)
        there = to_matrix(table)
        values.append(np.where(rows[:, None] >= 0, there[rows], np.float32(np.nan)))
    return values


def read_values(X: Any, panel: Panel, covariates: Covariates | None, horizon: int) -> CovariateValues | None:
    """Return all covariates of the series and `horizon` steps on, in the order of a model; None if it takes none.

    Raises:
        DataError: as `read_columns`; or X is missing, or not wanted.
    """
    if covariates is None or not covariates.given:
        if X is not None:
            raise DataError("fit saw no X: leave it out")
        return None if covariates is None else covariates.beside(panel, _no_columns(panel, horizon))
    if X is None:
        raise DataError(f"X is needed: it holds {', '.join(covariates.given)}, as in fit")
    return covariates.beside(panel, read_columns(X, panel, covariates.given, horizon, covariates.levels))


def read_future(X: Any, panel: Panel, covariates: Covariates, horizon: int) -> CovariateValues:
    """Return the values of X over the horizon behind each series, (H, K), NaN in columns that are not known ahead.

    Raises:
        DataError: as `read_columns`, and where a value is missing.
    """
    missing = [np.full((horizon, len(covariates.names)), np.nan, np.float32) for _ in panel.series]
    if not covariates.future:
        if X is not None:
            raise DataError("nothing is known ahead to this model: leave X out")
        return missing
    if X is None:
        raise DataError(f"X is needed: the next {horizon} values of {', '.join(covariates.future)}")
    X = to_frame(X, "X")
    known_ahead, every = set(covariates.future), covariates.levels
    levels = {n: own for n, own in every.items() if column_names(n, every)[0] in known_ahead}
    spare = [c for c in X.columns if name_column(c) in {*covariates.past, *every} - set(levels)]
    known = read_columns(X.drop(columns=spare), panel, list(covariates.future), horizon, levels)
    for series, values, out in zip(panel.series, known, missing, strict=True):
        ahead = values[len(series.index) :]
        step, column = (int(k[0]) if len(k) else -1 for k in np.nonzero(np.isnan(ahead)))
        if step >= 0:
            label = f" of series {series.name!r}" if series.name else ""
            stamp = panel.future(series.index, horizon)[step]
            raise DataError(f"X has no value of {covariates.future[column]!r}{label} at {panel.label(stamp)}")
        out[:, len(covariates.past) :] = ahead
    return missing


def append_values(known: CovariateValues, panel: Panel, more: CovariateValues, new: Panel) -> CovariateValues:
    """Return the known values with those of new rows behind them."""
    found = {s.name: values for s, values in zip(new.series, more, strict=True)}
    return [
        np.concatenate([values, found[s.name]]) if s.name in found else values
        for s, values in zip(panel.series, known, strict=True)
    ]
