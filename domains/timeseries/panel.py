"""Frames in, regular series out: wide frames (time index x channels) and long frames (unique_id, ds, values).

Axes: T steps of a series, C channels.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from titans_seq.errors import DataError, TitansSeqWarning, reason

ID, TIME = "unique_id", "ds"
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
CALENDARS = (
    *(f"{year}-{month}" for year in ("YS", "YE") for month in MONTHS),
    *(f"{quarter}-{month}" for quarter in ("QS", "QE") for month in MONTHS[:3]),
    *("MS", "ME"),
)
"""Frequencies without a fixed length that a grid is tried against, the longest first."""

SEASONS = {"B": 5, "W": 52, "WOM": 12, "LWOM": 12} | {
    business + unit + end: season
    for business in ("", "B")
    for unit, season in (("M", 12), ("Q", 4), ("Y", 1))
    for end in ("S", "E")
}
"""Steps of the natural season of frequencies without a fixed length, by their name up to the hyphen."""


@dataclass(frozen=True)
class Series:
    """One series on a regular grid."""

    name: str
    index: pd.DatetimeIndex
    """T stamps, none left out."""
    values: NDArray[np.float32]
    """(T, C), NaN where missing."""


@dataclass(frozen=True)
class Panel:
    """Series with the same channels and frequency, and how the user wrote them down."""

    series: list[Series]
    channels: list[str]
    freq: pd.offsets.BaseOffset
    layout: Literal["wide", "long"]

    @property
    def season(self) -> int:
        """Steps of the natural season: a day for hours and minutes, a week for days, a year for months."""
        return natural_season(self.freq)

    def head(self, fraction: float) -> "Panel":
        """The first part of every series."""
        sizes = [max(1, int(len(s.index) * fraction)) for s in self.series]
        parts = [Series(s.name, s.index[:n], s.values[:n]) for s, n in zip(self.series, sizes, strict=True)]
        return Panel(parts, self.channels, self.freq, self.layout)

    def future(self, index: pd.DatetimeIndex, steps: int) -> pd.DatetimeIndex:
        """The `steps` stamps behind an index."""
        return pd.date_range(index[-1] + self.freq, periods=steps, freq=self.freq, name=index.name)

    def frame(
        self,
        names: Sequence[str],
        indices: Sequence[pd.DatetimeIndex],
        values: Sequence[Any],
        columns: pd.Index | None = None,
    ) -> pd.DataFrame:
        """Back to the user's layout; one (T, C) array per series, whose columns are the channels if not told."""
        columns = pd.Index(self.channels) if columns is None else columns
        frames = [pd.DataFrame(np.asarray(v), index=i, columns=columns) for i, v in zip(indices, values, strict=True)]
        if self.layout == "wide":
            frames[0].index.name = indices[0].name
            return frames[0]
        for name, frame in zip(names, frames, strict=True):
            frame.insert(0, TIME, frame.index)
            frame.insert(0, ID, name)
        return pd.concat(frames, ignore_index=True)


def to_panel(frame: pd.DataFrame | pd.Series) -> Panel:
    """Read a wide or a long frame; which of the two it is follows from its columns.

    A wide frame has a DatetimeIndex and one column per channel. A long frame has the columns `unique_id` and `ds` and
    one or more columns of values. Stamps that are not sorted are sorted with a warning; steps left out become NaN.

    Raises:
        DataError: nothing in it, no time, duplicate stamps, no regular grid, text, infinite values, or a channel
            without a single value.
    """
    groups, long = split_series(frame)
    channels = [str(c) for c in groups[0][1].columns]
    if not channels:
        raise DataError("the frame has no column of values")
    numbers = {str(c): to_numbers(frame[c]) for c in groups[0][1].columns}
    for channel, column in numbers.items():
        if not np.isfinite(column).any():
            raise DataError(f"column {channel!r} holds no value at all")
    ordered = [(name, order_by_time(g, name)) for name, g in groups]
    freq = _infer_frequency([pd.DatetimeIndex(t.index) for _, t in ordered])
    series = [Series(name, *_regularize(t, freq)) for name, t in ordered]
    return Panel(series, channels, freq, "long" if long else "wide")


def split_series(frame: pd.DataFrame | pd.Series) -> tuple[list[tuple[str, pd.DataFrame]], bool]:
    """One table of values per series with its name, in the order they first appear, and whether the frame is long.

    Raises:
        DataError: not a frame, nothing in it, a column that stands twice, no time, or a row of no series.
    """
    if isinstance(frame, pd.Series):
        frame = frame.to_frame(frame.name if frame.name is not None else "y")
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"a pandas frame is needed, not {type(frame).__name__}")
    if isinstance(frame.index, pd.PeriodIndex):
        frame = frame.set_axis(frame.index.to_timestamp())
    if len(frame) == 0:
        raise DataError("the frame has no rows")
    if not frame.columns.is_unique:
        raise DataError(f"column {frame.columns[frame.columns.duplicated()][0]!r} stands twice")
    long = ID in frame.columns and TIME in frame.columns
    if long:
        groups = [(str(name), g.set_index(TIME).drop(columns=ID)) for name, g in frame.groupby(ID, sort=False)]
        if frame[ID].isna().any():
            raise DataError(f"{ID} is missing in {int(frame[ID].isna().sum())} rows")
    elif isinstance(frame.index, pd.DatetimeIndex):
        groups = [("", frame)]
    else:
        raise DataError(f"no time: a DatetimeIndex, or the columns {ID} and {TIME}, are needed")
    return groups, long


def to_numbers(column: "pd.Series[Any]") -> NDArray[np.float64]:
    """A column as float64.

    Raises:
        DataError: text, or an infinite value; the message names the column and the first such row.
    """
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        raise DataError(f"column {column.name!r} holds times, not numbers")
    try:
        values = pd.to_numeric(column).to_numpy(dtype="float64", na_value=np.nan)
    except (ValueError, TypeError) as error:
        bad = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
        raise DataError(f"column {column.name!r} holds text: {bad.iloc[0]!r} at {bad.index[0]}") from error
    if np.isinf(values).any():
        where = column.index[int(np.isinf(values).argmax())]
        raise DataError(f"column {column.name!r} holds an infinite value at {where}")
    return values


def natural_season(freq: pd.offsets.BaseOffset) -> int:
    """Steps after which a series is expected to repeat: a minute, a day, a week or a year, whichever comes next."""
    name = freq.name.split("-")[0]
    if name in SEASONS:
        season = SEASONS[name]
        return season // freq.n if season % freq.n == 0 else 1
    try:
        step = pd.Timedelta(days=freq.n) if name == "D" else pd.Timedelta(freq)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return 1
    for above, period in (
        (pd.Timedelta(0), "1min"),
        (pd.Timedelta("1min"), "1D"),
        (pd.Timedelta("1D"), "7D"),
    ):
        if above <= step < pd.Timedelta(period):
            return int(pd.Timedelta(period) / step) if pd.Timedelta(period) % step == pd.Timedelta(0) else 1
    return 1


def order_by_time(table: pd.DataFrame, name: str, sort: bool = True) -> pd.DataFrame:
    """A table whose index is of stamps, rising and none twice; DataError for what cannot be put so, or must not be."""
    label = f" of series {name!r}" if name else ""
    if not isinstance(table.index, pd.DatetimeIndex):
        try:
            table = table.set_axis(pd.DatetimeIndex(pd.to_datetime(table.index)))
        except (ValueError, TypeError) as error:
            raise DataError(f"{TIME} holds what is not a time: {reason(error)}") from error
    if table.index.hasnans:
        raise DataError(f"{int(np.sum(table.index.isna()))} time stamps{label} are missing")
    if not table.index.is_monotonic_increasing and not sort:
        raise DataError(f"the time stamps{label} are not in order: sort them")
    if not table.index.is_monotonic_increasing:
        warnings.warn(f"the time stamps{label} are not in order; they were sorted", TitansSeqWarning, stacklevel=2)
        table = table.sort_index()
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()]
        raise DataError(f"{len(twice)} time stamps{label} stand twice, the first is {twice[0]}: remove or average them")
    return table


def _infer_frequency(indices: list[pd.DatetimeIndex]) -> pd.offsets.BaseOffset:
    """The common grid of all series."""
    longest = max(indices, key=len)
    if len(longest) < 3:
        raise DataError(f"{len(longest)} rows are too few to find a frequency: at least 3 are needed")
    try:
        steps = pd.Series(np.concatenate([np.diff(i.as_unit("ns").asi8) for i in indices]))
    except pd.errors.OutOfBoundsDatetime as error:
        raise DataError(f"a time stamp lies outside of the years 1678 to 2262: {error}") from error
    common = int(steps.mode().iloc[0])
    for index in indices:
        check_gaps(index, pd.Timedelta(common, unit="ns"))
    if bool((steps % common == 0).all()) and common % pd.Timedelta("1D").value != 0:
        return to_offset(pd.Timedelta(common, unit="ns"))
    weekend = any(bool((i.dayofweek >= 5).any()) for i in indices)
    day = pd.Timedelta("1D").value
    weekly = "W-" + longest[0].day_name()[:3].upper()
    names = [
        *CALENDARS,
        *([weekly] if common == 7 * day else []),
        *(["B"] if common == day and not weekend else []),
        "D",
    ]
    for name in [n for n in (pd.infer_freq(longest), *names) if n is not None and (n != "D" or common == day)]:
        grids = [pd.date_range(i[0], i[-1], freq=name) for i in indices]
        if all(i.isin(g).all() for i, g in zip(indices, grids, strict=True)):
            return to_offset(name)
    if bool((steps % common == 0).all()):
        return to_offset(pd.Timedelta(common, unit="ns"))
    raise DataError(
        f"the time stamps lie on no regular grid: most are {pd.Timedelta(common, unit='ns')} apart, "
        f"but not all are a multiple of it; resample them first"
    )


def check_gaps(index: pd.DatetimeIndex, step: pd.Timedelta) -> None:
    """Before a grid is made of it: a few wrong stamps must not blow up a series to gigabytes."""
    count = (index[-1] - index[0]) / step + 1
    if count > 50 * len(index) + 1000:
        raise DataError(
            f"the time stamps leave {int(count) - len(index)} of {int(count)} steps of {step} out; "
            "is one of them mistyped?"
        )


def _regularize(table: pd.DataFrame, freq: pd.offsets.BaseOffset) -> tuple[pd.DatetimeIndex, NDArray[np.float32]]:
    index = pd.date_range(table.index[0], table.index[-1], freq=freq, name=table.index.name)
    values = np.full((len(index), table.shape[1]), np.nan, dtype=np.float32)
    rows = index.get_indexer(table.index)
    for position, column in enumerate(table.columns):
        values[rows, position] = to_numbers(table[column])
    return index, values
