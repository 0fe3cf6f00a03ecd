"""New observations behind a known history. Axes: T steps, C channels."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titans_seq.domains.timeseries.panel import Panel, Series, in_order, tables, to_numbers
from titans_seq.errors import DataError

FAR = 10_000
"""Steps that are counted in a gap; more are not worth the grid."""


def observed(known: Panel, frame: pd.DataFrame | pd.Series) -> Panel:
    """The new rows of each series that has any, checked to go on exactly where the known history ends.

    Raises:
        DataError: another layout, other channels, an unknown series, stamps that are not in order, that were known
            already, that leave steps out or lie between the steps, text, or infinite values.
    """
    groups, long = tables(frame)
    if long != (known.layout == "long"):
        raise DataError(f"a {known.layout} frame is needed, as fit saw it")
    ends = {s.name: s.index for s in known.series}
    found = []
    for name, group in groups:
        if name not in ends:
            names = ", ".join(list(ends)[:20])
            raise DataError(f"series {name!r} is unknown: the model was fitted on {names}")
        table = in_order(with_columns(group, known.channels), name, sort=False)
        index = _follows(ends[name], pd.DatetimeIndex(table.index), known.freq, f" of series {name!r}" if long else "")
        found.append(Series(name, index, numbers(table)))
    return Panel(found, known.channels, known.freq, known.layout)


def joined(known: Panel, new: Panel) -> Panel:
    """The known series, those with new rows longer by them."""
    more = {s.name: s for s in new.series}
    series = [
        Series(
            s.name,
            pd.DatetimeIndex(s.index.append(more[s.name].index)),
            np.concatenate([s.values, more[s.name].values]),
        )
        if s.name in more
        else s
        for s in known.series
    ]
    return Panel(series, known.channels, known.freq, known.layout)


def with_columns(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The columns of these names in this order; DataError if one is missing or there are others."""
    table = table.set_axis([str(c) for c in table.columns], axis=1)
    for name in names:
        if name not in table.columns:
            raise DataError(f"column {name!r} is missing; there are {', '.join(list(table.columns)[:20])}")
    for name in table.columns:
        if name not in names:
            raise DataError(f"column {name!r} is unknown: the model was fitted on {', '.join(names[:20])}")
    return table[names]


def numbers(table: pd.DataFrame) -> NDArray[np.float32]:
    """(T, C) float32."""
    return np.stack([to_numbers(table[c]) for c in table.columns], 1).astype(np.float32)


def _follows(
    known: pd.DatetimeIndex, index: pd.DatetimeIndex, freq: pd.offsets.BaseOffset, label: str
) -> pd.DatetimeIndex:
    if str(index.tz) != str(known.tz):
        raise DataError(f"the time stamps{label} are in time zone {index.tz}, those of fit in {known.tz}")
    index = index.as_unit(known.unit).rename(known.name)
    last = known[-1]
    if index[0] <= last:
        raise DataError(f"the new rows{label} begin at {index[0]}, but all up to {last} is known: leave that out")
    expected = pd.date_range(last + freq, periods=len(index), freq=freq, name=known.name)
    wrong = np.flatnonzero(index != expected)
    if len(wrong) == 0:
        return index
    stamp, due = index[wrong[0]], expected[wrong[0]]
    grid = pd.date_range(due, periods=FAR, freq=freq)
    if stamp > grid[-1] or stamp in grid:
        left_out = f"more than {FAR}" if stamp > grid[-1] else grid.get_loc(stamp)
        raise DataError(f"{left_out} steps{label} are left out before {stamp}: give them as rows of NaN")
    raise DataError(f"{stamp}{label} is no step of the frequency {freq.freqstr}: {due} comes next")
