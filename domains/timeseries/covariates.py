"""Covariates: columns of X, known in the past only or ahead too, and the calendar.

Axes: S series, T steps, K covariates, L look-back, H horizon.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from titans_seq.domains.timeseries.observe import select_columns, step_length, to_matrix
from titans_seq.domains.timeseries.panel import Panel, order_by_time, split_series
from titans_seq.domains.timeseries.prepare import Scaling
from titans_seq.errors import DataError

CovariateValues = list[NDArray[np.float32]]
"""Per series the values of X (T + H, K), of its T steps and the H behind them; NaN where missing."""

CALENDAR: dict[str, tuple[float, Callable[[pd.DatetimeIndex], Any]]] = {
    "minute": (60, lambda i: i.minute),
    "hour": (24, lambda i: i.hour + i.minute / 60),
    "weekday": (7, lambda i: i.dayofweek),
    "monthday": (31, lambda i: i.day - 1),
    "yearday": (366, lambda i: i.dayofyear - 1),
    "month": (12, lambda i: i.month - 1),
}
"""Name -> its period, and its place in it at time stamps; each becomes a sine and a cosine."""

CALENDAR_LIMITS = {"minute": "1h", "hour": "1D", "weekday": "7D", "monthday": "28D", "month": "360D"}
"""Features that calendar=True takes, each for frequencies below this step."""
PERIODS = {"minute": "1h", "hour": "1D", "weekday": "7D", "monthday": "30D", "month": "365D"}
REPEATS = 4
"""Times that a feature must have come round to be worth knowing."""


@dataclass(frozen=True)
class Covariates:
    """Names of the covariates of a model, and their scale over all series."""

    past: tuple[str, ...]
    """Columns of X known up to the end of the history."""
    future: tuple[str, ...]
    """Columns of X known over the horizon too."""
    scaling: Scaling
    """Scale of the columns of X, (1, K)."""

    @property
    def names(self) -> list[str]:
        """Return the columns of X in the order of their values."""
        return [*self.past, *self.future]

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
    X: pd.DataFrame | None, panel: Panel, horizon: int, future_covariates: Sequence[str] | None
) -> tuple[Covariates | None, CovariateValues]:
    """Return the covariates of a fit and X's values; None and no values if there are none.

    Args:
        future_covariates: see `TitansForecaster`.

    Raises:
        DataError: X does not belong to the panel, lacks a column that is to be known ahead, or has an empty one.
    """
    ahead = () if future_covariates is None else tuple(future_covariates)
    if X is None:
        if ahead:
            raise DataError(f"X is needed: it holds {', '.join(ahead)}, which future_covariates names")
        return None, []
    groups, _ = split_series(X)
    names = [str(c) for c in groups[0][1].columns]
    for name in ahead:
        if name not in names:
            raise DataError(f"X has no column {name!r}, which future_covariates names; it has {', '.join(names)}")
    for name in names:
        if name in panel.channels:
            raise DataError(f"column {name!r} is both in X and in y")
    names = [*(n for n in names if n not in ahead), *ahead]
    known = read_columns(X, panel, names, horizon)
    history = [v[: len(s.index)] for v, s in zip(known, panel.series, strict=True)]
    for place, name in enumerate(names):
        if not any(np.isfinite(v[:, place]).any() for v in history):
            raise DataError(f"X has no value of {name!r} in the time of y")
    past = tuple(n for n in names if n not in ahead)
    return Covariates(past, ahead, measure_scale(panel, known)), known


def measure_scale(panel: Panel, known: CovariateValues) -> Scaling:
    """Return the scale of X's values up to the end of each series, over all series, (1, K)."""
    values = [v[: len(s.index)] for v, s in zip(known, panel.series, strict=True)]
    return Scaling.from_series([torch.from_numpy(np.concatenate(values))])


def read_columns(X: pd.DataFrame, panel: Panel, names: list[str], horizon: int) -> CovariateValues:
    """Return the named columns of X, which must be all of them, on each series' grid and `horizon` steps on.

    Raises:
        DataError: another layout, a series or column missing or unknown, stamps that do not fit, text or infinity.
    """
    groups, long = split_series(X)
    if long != (panel.layout == "long"):
        raise DataError(f"X must be a {panel.layout} frame, as y")
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
            raise DataError(f"{strange[0]}, a time stamp of X{label}, is no step of the frequency {panel.freq.freqstr}")
        rows = index.get_indexer(grid)
        there = to_matrix(table)
        values.append(np.where(rows[:, None] >= 0, there[rows], np.float32(np.nan)))
    return values


def read_values(
    X: pd.DataFrame | None, panel: Panel, covariates: Covariates | None, horizon: int
) -> CovariateValues | None:
    """Return X's values of the series and `horizon` steps on, in the order of a model; None if it takes none.

    Raises:
        DataError: as `read_columns`; or X is missing, or not wanted.
    """
    if covariates is None:
        if X is not None:
            raise DataError("fit saw no X: leave it out")
        return None
    if X is None:
        raise DataError(f"X is needed: it holds {', '.join(covariates.names)}, as in fit")
    return read_columns(X, panel, covariates.names, horizon)


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
    if isinstance(X, pd.Series):
        X = X.to_frame()
    if not isinstance(X, pd.DataFrame):
        raise DataError(f"X must be a pandas frame, not {type(X).__name__}")
    spare = [c for c in X.columns if str(c) in covariates.past]
    known = read_columns(X.drop(columns=spare), panel, list(covariates.future), horizon)
    for series, values, out in zip(panel.series, known, missing, strict=True):
        ahead = values[len(series.index) :]
        step, column = (int(k[0]) if len(k) else -1 for k in np.nonzero(np.isnan(ahead)))
        if step >= 0:
            label = f" of series {series.name!r}" if series.name else ""
            stamp = panel.future(series.index, horizon)[step]
            raise DataError(f"X has no value of {covariates.future[column]!r}{label} at {stamp}")
        out[:, len(covariates.past) :] = ahead
    return missing


def append_values(known: CovariateValues, panel: Panel, more: CovariateValues, new: Panel) -> CovariateValues:
    """Return the known values with those of new rows behind them."""
    found = {s.name: values for s, values in zip(new.series, more, strict=True)}
    return [
        np.concatenate([values, found[s.name]]) if s.name in found else values
        for s, values in zip(panel.series, known, strict=True)
    ]


def calendar_names(calendar: bool | str | Sequence[str], panel: Panel) -> tuple[str, ...]:
    """Return the names that are asked for; for True all that tell steps of this length apart, for "auto" some of them.

    Those of "auto" come round `REPEATS` times at least in the longest series.
    """
    if calendar is True or calendar == "auto":
        step = step_length(panel)
        names = [name for name, limit in CALENDAR_LIMITS.items() if step < pd.Timedelta(limit)]
        longest = max(len(s.index) for s in panel.series) * step
        return tuple(n for n in names if calendar is True or longest >= REPEATS * pd.Timedelta(PERIODS[n]))
    if calendar is False:
        return ()
    return (calendar,) if isinstance(calendar, str) else tuple(calendar)


def calendar_features(index: pd.DatetimeIndex, names: Sequence[str]) -> NDArray[np.float32]:
    """Return sine and cosine of each name, (T, 2 K) float32."""
    columns = [np.zeros((len(index), 0), np.float32)]
    for name in names:
        period, place = CALENDAR[name]
        angle = 2 * np.pi / period * np.asarray(place(index), dtype=np.float64)
        columns.append(np.stack([np.sin(angle), np.cos(angle)], 1).astype(np.float32))
    return np.concatenate(columns, 1)
