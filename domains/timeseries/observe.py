"""Read more observations of the series of a panel. Axes: T steps, C channels."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titans_seq.domains.timeseries.frequency import check_gaps
from titans_seq.domains.timeseries.panel import Panel, Series, name_column, order_by_time, split_series, to_numbers
from titans_seq.domains.timeseries.stamps import kind_of
from titans_seq.errors import DataError

MAX_GAP = 10_000
"""Steps of a gap that are counted; a message says no more than that of a longer one."""


def validate_new_rows(history: Panel, frame: pd.DataFrame | pd.Series) -> Panel:
    """Return the new rows of each series that has any; they must go on exactly where the history ends.

    Raises:
        DataError: another layout, other channels, an unknown series, stamps that are not in order, that were known
            already, that leave steps out or lie between the steps, text, or infinite values.
    """
    found = []
    for name, table in _select_series(history, frame, sort=False):
        end = next(s.index for s in history.series if s.name == name)
        label = f" of series {name!r}" if name else ""
        index = _check_continuation(history, end, pd.DatetimeIndex(table.index), label)
        found.append(Series(name, index, to_matrix(table)))
    return replace(history, series=found)


def align_to_grid(history: Panel, frame: pd.DataFrame | pd.Series) -> Panel:
    """Return any part of known series on their grid; steps left out become NaN.

    Raises:
        DataError: another layout, other channels, an unknown series, stamps that stand twice or lie between the steps,
            text, or infinite values.
    """
    found = []
    for name, table in _select_series(history, frame, sort=True):
        index = pd.DatetimeIndex(table.index)
        check_gaps(index, step_length(history))
        grid = pd.date_range(index[0], index[-1], freq=history.freq, name=history.series[0].index.name)
        rows = grid.get_indexer(index)
        if (rows < 0).any():
            stamp = history.label(index[int((rows < 0).argmax())])
            raise DataError(f"{stamp} is no step of the frequency {history.freq.freqstr}")
        values = np.full((len(grid), table.shape[1]), np.nan, dtype=np.float32)
        values[rows] = to_matrix(table)
        found.append(Series(name, grid, values))
    return replace(history, series=found)


def step_length(panel: Panel) -> pd.Timedelta:
    """Return the time of about one step."""
    index = panel.future(panel.series[0].index, 12)
    return (index[-1] - index[0]) / 11


def _select_series(history: Panel, frame: pd.DataFrame | pd.Series, sort: bool) -> list[tuple[str, pd.DataFrame]]:
    """Return tables of known series, with the known channels in their order and stamps in the known time zone."""
    groups, long = split_series(frame)
    if long != (history.layout == "long"):
        raise DataError(f"a {history.layout} frame is needed, as fit saw it")
    check_index(history, groups[0][1].index)
    known_names = history.names
    zone = history.series[0].index.tz
    found = []
    for name, group in groups:
        if name not in known_names:
            raise DataError(f"series {name!r} is unknown: the model was fitted on {', '.join(known_names[:20])}")
        table = order_by_time(select_columns(group, history.channels), name, sort)
        index = pd.DatetimeIndex(table.index)
        if str(index.tz) != str(zone):
            raise DataError(f"the time stamps are in time zone {index.tz}, those of fit in {zone}")
        found.append((name, table))
    return found


def check_index(history: Panel, index: pd.Index) -> None:
    """Raise DataError unless an index is of the kind that `fit` saw."""
    if (kind := kind_of(index)) != history.kind:
        raise DataError(f"the index holds {kind}, that of fit {history.kind}")


def append_rows(history: Panel, new: Panel) -> Panel:
    """Return the series of a history with the new rows behind them."""
    more = {s.name: s for s in new.series}
    series = [
        Series(
            s.name,
            pd.DatetimeIndex(s.index.append(more[s.name].index)),
            np.concatenate([s.values, more[s.name].values]),
        )
        if s.name in more
        else s
        for s in history.series
    ]
    return replace(history, series=series)


def select_columns(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the columns of these names in this order; raise DataError if one is missing or there are others."""
    table = table.set_axis([name_column(c) for c in table.columns], axis=1)
    for name in names:
        if name not in table.columns:
            raise DataError(f"column {name!r} is missing; there are {', '.join(list(table.columns)[:20])}")
    for name in table.columns:
        if name not in names:
            raise DataError(f"column {name!r} is unknown: the model was fitted on {', '.join(names[:20])}")
    return table[names]


def to_matrix(table: pd.DataFrame) -> NDArray[np.float32]:
    """Return the values of a table, (T, C) float32."""
    return np.stack([to_numbers(table[c]) for c in table.columns], 1).astype(np.float32)


def _check_continuation(
    history: Panel, known: pd.DatetimeIndex, index: pd.DatetimeIndex, label: str
) -> pd.DatetimeIndex:
    """Return the index of new rows, which must be the next steps behind a known one; DataError if they are not."""
    index = index.as_unit(known.unit).rename(known.name)
    last, freq, name = known[-1], history.freq, history.label
    if index[0] <= last:
        raise DataError(
            f"the new rows{label} begin at {name(index[0])}, but all up to {name(last)} is known: leave that out"
        )
    expected = pd.date_range(last + freq, periods=len(index), freq=freq, name=known.name)
    wrong = np.flatnonzero(index != expected)
    if len(wrong) == 0:
        return index
    stamp, due = index[wrong[0]], expected[wrong[0]]
    grid = pd.date_range(due, periods=MAX_GAP, freq=freq)
    if stamp > grid[-1] or stamp in grid:
        left_out = f"more than {MAX_GAP}" if stamp > grid[-1] else grid.get_loc(stamp)
        raise DataError(f"{left_out} steps{label} are left out before {name(stamp)}: give them as rows of NaN")
    raise DataError(f"{name(stamp)}{label} is no step of the frequency {freq.freqstr}: {name(due)} comes next")
