"""Columns of text as numbers: one column for each value, 1 where it stands and 0 elsewhere."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from titans_seq.domains.timeseries.panel import name_column
from titans_seq.errors import DataError

Levels = dict[str, tuple[str, ...]]
"""Column of text -> its values."""

MOST_LEVELS = 50
"""Values of a column of text at the most."""


def find_levels(frame: pd.DataFrame, names: Sequence[str]) -> Levels:
    """Return the values of the columns that hold text: of pandas' category, or fewer numbers than other things.

    Raises:
        DataError: a column has more than `MOST_LEVELS` values.
    """
    found: Levels = {}
    for label in frame.columns:
        name, column = name_column(label), frame[label]
        known = column[column.notna()]
        if name not in names or not len(known) or not _is_text(known):
            continue
        levels = tuple(sorted(set(known.astype(str))))
        if len(levels) > MOST_LEVELS:
            raise DataError(
                f"column {name!r} holds {len(levels)} texts, as {levels[0]!r}: {MOST_LEVELS} are taken at most"
            )
        found[name] = levels
    return found


def _is_text(known: "pd.Series[Any]") -> bool:
    if isinstance(known.dtype, pd.CategoricalDtype):
        return True
    if not (pd.api.types.is_object_dtype(known.dtype) or pd.api.types.is_string_dtype(known.dtype)):
        return False
    return float(pd.to_numeric(known, errors="coerce").notna().mean()) < 0.5


def column_names(name: str, levels: Levels) -> list[str]:
    """Return the names of the columns that stand for a column."""
    return [f"{name}={level}" for level in levels[name]] if name in levels else [name]


def encode(frame: pd.DataFrame, levels: Levels) -> pd.DataFrame:
    """Return the frame with columns of numbers in the place of those that hold text, NaN where it is missing.

    Raises:
        DataError: such a column is missing, or holds a value that has no column.
    """
    if not levels:
        return frame
    parts = []
    present = [name_column(c) for c in frame.columns]
    for name in levels:
        if name not in present:
            raise DataError(f"column {name!r} is missing; there are {', '.join(present[:20])}")
    for label, name in zip(frame.columns, present, strict=True):
        column = frame[label]
        if name not in levels:
            parts.append(column.to_frame(name))
            continue
        text, missing = column.astype(str), column.isna().to_numpy()
        strange = ~text.isin(levels[name]).to_numpy() & ~missing
        if strange.any():
            place, known = int(strange.argmax()), ", ".join(levels[name][:20])
            raise DataError(f"column {name!r} holds {text.iloc[place]!r}, which fit did not see: {known}")
        found = {f"{name}={level}": np.where(missing, np.nan, text == level) for level in levels[name]}
        parts.append(pd.DataFrame(found, index=frame.index))
    return pd.concat(parts, axis=1)
