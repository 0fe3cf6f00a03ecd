"""Static covariates: what is the same in all steps of a series. Axes: S series, K covariates, T steps, H horizon."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titans_seq.domains.timeseries.encoding import column_names, encode, find_levels
from titans_seq.domains.timeseries.panel import ID, Panel, name_column, to_frame, to_numbers
from titans_seq.errors import DataError


@dataclass(frozen=True)
class Static:
    """Static covariates by series."""

    names: tuple[str, ...] = ()
    values: dict[str, tuple[float, ...]] | None = None
    """Name of the series -> its K numbers, NaN where missing."""

    def beside(
        self, series: Sequence[str], values: Sequence[NDArray[np.float32]], place: int
    ) -> list[NDArray[np.float32]]:
        """Return values (T, K) of each series with its static ones as further columns from `place` on."""
        if self.values is None:
            return list(values)
        static = [
            np.tile(np.asarray(self.values[s], np.float32), (len(v), 1)) for s, v in zip(series, values, strict=True)
        ]
        return [np.concatenate([v[:, :place], own, v[:, place:]], 1) for v, own in zip(values, static, strict=True)]


def read_static(frame: Any, panel: Panel) -> Static:
    """Return the static covariates of a long panel from a frame with one row a series.

    Args:
        frame: `unique_id` as its index or a column, and columns of numbers or text; None: there are none.

    Raises:
        DataError: the panel is wide, a series has no row or two, there is no column, or one that is taken.
    """
    if frame is None:
        return Static()
    if panel.layout == "wide":
        raise DataError("static covariates tell series of a long frame apart: a wide frame is one series")
    frame = to_frame(frame)
    table = frame.set_index(ID) if ID in frame.columns else frame
    table = table.set_axis(table.index.astype(str))
    if not table.index.is_unique:
        raise DataError(f"series {table.index[table.index.duplicated()][0]!r} has two rows of static covariates")
    missing = [name for name in panel.names if name not in table.index]
    if missing:
        raise DataError(f"series {missing[0]!r} has no row of static covariates")
    columns = [name_column(c) for c in table.columns]
    if not columns:
        raise DataError("static has no column beside the names of the series")
    table = table.set_axis(columns, axis=1).loc[panel.names]
    levels = find_levels(table, columns)
    encoded = encode(table, levels)
    names = tuple(n for c in columns for n in column_names(c, levels))
    numbers = np.stack([to_numbers(encoded[n]) for n in names], 1)
    for place, name in enumerate(names):
        if not np.isfinite(numbers[:, place]).any():
            raise DataError(f"static has no value of {name!r}")
    return Static(names, dict(zip(panel.names, map(tuple, numbers.tolist()), strict=True)))


def check_static(static: Static, series: list[str]) -> None:
    """Raise ValueError unless every series has its numbers; for those that come from a file."""
    if static.values is None:
        return
    if set(static.values) != set(series) or any(len(v) != len(static.names) for v in static.values.values()):
        raise ValueError("the static covariates are not those of the series")
    if any(np.isinf(v).any() for v in map(np.asarray, static.values.values())):
        raise ValueError("a static covariate is infinite")
    if not pd.Index(static.names).is_unique:
        raise ValueError("two static covariates have the same name")
