"""The frequency of time stamps: the regular grid they lie on, and its natural season."""

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from titans_seq.errors import DataError

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
CALENDARS = (
    *(f"{year}-{month}" for year in ("YS", "YE") for month in MONTHS),
    *(f"{quarter}-{month}" for quarter in ("QS", "QE") for month in MONTHS[:3]),
    *("MS", "ME"),
)
"""Frequencies without a fixed length that a grid is tried against, the longest first."""

RULES = (
    *(f"{n}{unit}" for unit in ("s", "min") for n in (1, 2, 5, 10, 15, 30)),
    *("1h", "2h", "3h", "6h", "12h", "1D", "7D"),
)
"""Grids that people resample to."""

ENOUGH_STEPS = 3
"""Steps of a series that tell its frequency."""

SEASONS = {"B": 5, "W": 52, "WOM": 12, "LWOM": 12} | {
    business + unit + end: season
    for business in ("", "B")
    for unit, season in (("M", 12), ("Q", 4), ("Y", 1))
    for end in ("S", "E")
}
"""Steps of the natural season of frequencies without a fixed length, by their name up to the hyphen."""


def natural_season(freq: pd.offsets.BaseOffset) -> int:
    """Return the steps after which a series is expected to repeat: a minute, a day, a week or a year, whichever comes
    next.
    """
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


def infer_frequency(indices: list[pd.DatetimeIndex]) -> pd.offsets.BaseOffset:
    """Return the frequency of the grid that the stamps of all series lie on.

    Raises:
        DataError: there is no such grid, or too few stamps to find it.
    """
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
        own = np.diff(index.as_unit("ns").asi8)
        if len(own) >= ENOUGH_STEPS and own.min() >= 2 * common:
            raise DataError(
                f"series of different frequencies in one frame: most steps are {pd.Timedelta(common, unit='ns')}, of "
                f"the {len(index)} stamps from {index[0]} on none lie closer than {pd.Timedelta(own.min(), unit='ns')}"
            )
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
    middle = steps.median()
    rule = min(RULES, key=lambda rule: abs(np.log(pd.Timedelta(rule).value / middle)))
    raise DataError(
        f"the time stamps lie on no regular grid: most are {pd.Timedelta(common, unit='ns')} apart, "
        f"but not all are a multiple of it; resample them first, as by y.resample('{rule}').mean()"
    )


def check_gaps(index: pd.DatetimeIndex, step: pd.Timedelta) -> None:
    """Raise DataError if so many steps are left out that a few stamps must be wrong: the grid would take gigabytes."""
    count = (index[-1] - index[0]) / step + 1
    if count > 50 * len(index) + 1000:
        raise DataError(
            f"the time stamps leave {int(count) - len(index)} of {int(count)} steps of {step} out; "
            "is one of them mistyped?"
        )
