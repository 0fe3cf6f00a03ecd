"""What a user's index may hold beside time stamps: periods, and whole numbers. Inside, all of them are time stamps."""

from typing import Any

import pandas as pd

from titans_seq.errors import DataError, reason

TIMES, NUMBERS = "times", "numbers"
"""Kinds of an index; the third is the name of a pandas dtype, as `period[M]`."""


def kind_of(index: pd.Index) -> str:
    """Return the kind of an index; what is no period and no whole number is taken for times."""
    if isinstance(index, pd.PeriodIndex):
        return str(index.dtype)
    return NUMBERS if pd.api.types.is_integer_dtype(index.dtype) else TIMES


def check_kind(kind: str) -> None:
    """Raise ValueError unless `kind_of` could have returned this."""
    if kind not in (TIMES, NUMBERS) and not isinstance(pd.api.types.pandas_dtype(kind), pd.PeriodDtype):
        raise ValueError(f"an index of {kind!r} is unknown")


def to_stamps(index: pd.Index) -> pd.DatetimeIndex:
    """Return an index as time stamps: of periods their starts, of whole numbers as many seconds since 1970.

    Raises:
        DataError: it holds what is not a time.
    """
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp()
    if isinstance(index, pd.DatetimeIndex):
        return index
    if pd.api.types.is_numeric_dtype(index.dtype) and kind_of(index) != NUMBERS:
        raise DataError("time stamps are broken numbers: make them by pandas.to_datetime, or use whole ones")
    try:
        found = pd.to_datetime(index, unit="s") if kind_of(index) == NUMBERS else pd.to_datetime(index)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"what should be times is not: {reason(error)}") from error
    return pd.DatetimeIndex(found, name=index.name)


def from_stamps(stamps: pd.DatetimeIndex, kind: str) -> pd.Index:
    """Return time stamps as the kind of index that they were made of."""
    if kind == TIMES:
        return stamps
    if kind == NUMBERS:
        seconds: Any = (stamps - pd.Timestamp(0)) // pd.Timedelta("1s")
        numbers: pd.Index = pd.Index(seconds, dtype="int64", name=stamps.name)
        return numbers
    dtype = pd.api.types.pandas_dtype(kind)
    assert isinstance(dtype, pd.PeriodDtype)
    freq: Any = dtype.freq
    return stamps.to_period(freq)
