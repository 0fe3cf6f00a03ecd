"""Frames in, regular series out: wide frames (time index x channels) and long frames (unique_id, ds, values).

Axes: T steps of a series, C channels.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import narwhals
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titans_seq.domains.timeseries.frequency import infer_frequency, natural_season
from titans_seq.domains.timeseries.stamps import NUMBERS, TIMES, from_stamps, kind_of, to_stamps
from titans_seq.errors import DataError, TitansSeqWarning

ID, TIME = "unique_id", "ds"


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
    kind: str = TIMES
    """What the user's index holds, see `stamps`."""
    columns: pd.Index | None = None
    """The user's names of the channels of a wide frame where they are no text; None: they are `channels`."""

    @property
    def names(self) -> list[str]:
        """Return the names of the series."""
        return [s.name for s in self.series]

    @property
    def season(self) -> int:
        """Return the steps of the natural season: a day for hours and minutes, a week for days, a year for months."""
        return 1 if self.kind == NUMBERS else natural_season(self.freq)

    def head(self, fraction: float) -> "Panel":
        """Return the first part of every series."""
        sizes = [max(1, int(len(s.index) * fraction)) for s in self.series]
        parts = [Series(s.name, s.index[:n], s.values[:n]) for s, n in zip(self.series, sizes, strict=True)]
        return replace(self, series=parts)

    def only(self, place: int) -> "Panel":
        """Return the panel of one of the series."""
        return replace(self, series=[self.series[place]])

    def future(self, index: pd.DatetimeIndex, steps: int) -> pd.DatetimeIndex:
        """Return the `steps` stamps behind an index."""
        return pd.date_range(index[-1] + self.freq, periods=steps, freq=self.freq, name=index.name)

    def index(self, stamps: pd.DatetimeIndex) -> pd.Index:
        """Return stamps as the user writes them."""
        return from_stamps(stamps, self.kind)

    def label(self, stamp: Any) -> str:
        """Return a stamp as the user writes it, for messages."""
        return str(self.index(pd.DatetimeIndex([stamp]))[0])

    def frame(
        self,
        names: Sequence[str],
        indices: Sequence[pd.DatetimeIndex],
        values: Sequence[Any],
        columns: pd.Index | None = None,
    ) -> pd.DataFrame:
        """Return values in the user's layout.

        Args:
            names, indices, values: of each series its name, T stamps and (T, K) values.
            columns: names of the K columns; None: the channels.
        """
        if columns is None:
            columns = pd.Index(self.channels) if self.columns is None else self.columns
        frames = [
            pd.DataFrame(np.asarray(v), index=self.index(i), columns=columns)
            for i, v in zip(indices, values, strict=True)
        ]
        if self.layout == "wide":
            frames[0].index.name = indices[0].name
            return frames[0]
        for name, frame in zip(names, frames, strict=True):
            frame.insert(0, TIME, frame.index)
            frame.insert(0, ID, name)
        return pd.concat(frames, ignore_index=True)


def to_panel(frame: Any) -> Panel:
    """Read a wide or a long frame; which of the two it is follows from its columns.

    A wide frame has an index of times, periods or whole numbers, or one column of times, and one column per channel. A
    long frame has the columns `unique_id` and `ds`, or an index of two levels, series and time, and one or more columns
    of values. Stamps that are not sorted are
    sorted with a warning; steps left out become NaN.

    Raises:
        DataError: nothing in it, no time, duplicate stamps, no regular grid, text, infinite values, or a channel
            without a single value.
    """
    frame = to_frame(frame)
    groups, long = split_series(frame)
    kind, labels = kind_of(groups[0][1].index), groups[0][1].columns
    channels = [name_column(c) for c in labels]
    if not channels:
        raise DataError("the frame has no column of values")
    if len(set(channels)) < len(channels):
        twice = next(c for c in channels if channels.count(c) > 1)
        raise DataError(f"two columns are called {twice!r}")
    numbers = {name_column(c): to_numbers(frame[c]) for c in labels}
    for channel, column in numbers.items():
        if not np.isfinite(column).any():
            raise DataError(f"column {channel!r} holds no value at all")
    ordered = [(name, order_by_time(g, name)) for name, g in groups]
    try:
        freq = infer_frequency([pd.DatetimeIndex(t.index) for _, t in ordered])
    except DataError as error:
        if kind == NUMBERS:
            raise DataError(f"{error} (whole numbers count steps; make dates by pandas.to_datetime)") from error
        raise
    series = [Series(name, *_regularize(t, freq)) for name, t in ordered]
    plain = long or all(isinstance(c, str) for c in labels)
    return Panel(series, channels, freq, "long" if long else "wide", kind, None if plain else labels)


def name_column(label: Any) -> str:
    """Return the name of a column: text as it is, the parts of a tuple with slashes between them."""
    return "/".join(map(str, label)) if isinstance(label, tuple) else str(label)


def to_frame(frame: Any, label: str = "") -> pd.DataFrame:
    """Return a pandas frame whose index is its time, if it has one; a Series becomes its only column, `y` without name.

    Args:
        frame: of pandas, or of another library that narwhals knows, as polars and pyarrow.
        label: what errors call it.

    Raises:
        DataError: neither a frame nor a Series.
    """
    if isinstance(frame, pd.Series):
        return _as_long(frame.to_frame(frame.name if frame.name is not None else "y"))
    if isinstance(frame, pd.DataFrame):
        found = frame
    else:
        try:
            found = narwhals.from_native(frame, eager_only=True).to_pandas()
        except TypeError as error:
            label = f"{label} must be" if label else "what is needed is"
            raise DataError(f"{label} a frame of pandas, polars or pyarrow, not {type(frame).__name__}") from error
    if isinstance(found.index, pd.RangeIndex) and not {ID, TIME} <= set(found.columns):
        times = [c for c in found.columns if pd.api.types.is_datetime64_any_dtype(found[c].dtype)]
        if len(times) == 1:
            return found.set_index(times[0])
    return _as_long(found)


def _as_long(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose rows have two levels, series and time, as a long one; any other as it is."""
    if not isinstance(frame.index, pd.MultiIndex) or frame.index.nlevels != 2 or frame.columns.nlevels > 1:
        return frame
    if {ID, TIME} & set(frame.columns):
        raise DataError(f"the index has two levels, and there are columns {ID} or {TIME}: which of them count?")
    is_time = [isinstance(level, pd.DatetimeIndex | pd.PeriodIndex) for level in frame.index.levels]
    names = [TIME, ID] if is_time == [True, False] else [ID, TIME]
    return frame.set_axis(frame.index.set_names(names)).reset_index()


def split_series(frame: Any) -> tuple[list[tuple[str, pd.DataFrame]], bool]:
    """Return the name and the table of values of each series, as they first appear, and whether the frame is long.

    Raises:
        DataError: not a frame, nothing in it, a column that stands twice, no time, or a row of no series.
    """
    frame = to_frame(frame)
    if len(frame) == 0:
        raise DataError("the frame has no rows")
    if not frame.columns.is_unique:
        raise DataError(f"column {frame.columns[frame.columns.duplicated()][0]!r} stands twice")
    long = ID in frame.columns and TIME in frame.columns
    if long:
        groups = [(str(name), g.set_index(TIME).drop(columns=ID)) for name, g in frame.groupby(ID, sort=False)]
        if frame[ID].isna().any():
            raise DataError(f"{ID} is missing in {int(frame[ID].isna().sum())} rows")
    elif isinstance(frame.index, pd.MultiIndex):
        raise DataError(
            f"the index has {frame.index.nlevels} levels: series and time make two, beside plain names of columns"
        )
    elif isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex) or kind_of(frame.index) == NUMBERS:
        groups = [("", frame)]
    else:
        raise DataError(f"no time: an index of times, or the columns {ID} and {TIME}, are needed")
    return groups, long


def to_numbers(column: "pd.Series[Any]") -> NDArray[np.float64]:
    """Return a column as float64.

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


def order_by_time(table: pd.DataFrame, name: str, sort: bool = True) -> pd.DataFrame:
    """Return a table whose index is of time stamps that rise, none twice.

    Args:
        name: the series, for messages; "" if there is but one.
        sort: sort stamps that are not in order, with a warning; False: refuse them.

    Raises:
        DataError: stamps are missing, stand twice, are no times, or are not in order.
    """
    label = f" of series {name!r}" if name else ""
    try:
        table = table.set_axis(to_stamps(table.index))
    except DataError as error:
        raise DataError(f"{TIME}{label}: {error}") from error
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


def _regularize(table: pd.DataFrame, freq: pd.offsets.BaseOffset) -> tuple[pd.DatetimeIndex, NDArray[np.float32]]:
    """Return a table on its grid: T stamps, none left out, and values (T, C), NaN where there was none."""
    index = pd.date_range(table.index[0], table.index[-1], freq=freq, name=table.index.name)
    values = np.full((len(index), table.shape[1]), np.nan, dtype=np.float32)
    rows = index.get_indexer(table.index)
    for position, column in enumerate(table.columns):
        values[rows, position] = to_numbers(table[column])
    return index, values
