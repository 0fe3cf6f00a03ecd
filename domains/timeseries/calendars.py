"""The calendar as features of time stamps. Axes: T steps, K names."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titans_seq.domains.timeseries.observe import step_length
from titans_seq.domains.timeseries.panel import Panel
from titans_seq.domains.timeseries.stamps import NUMBERS
from titans_seq.errors import DataError

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


def calendar_names(calendar: bool | str | Sequence[str], panel: Panel) -> tuple[str, ...]:
    """Return the names that are asked for; for True all that tell steps of this length apart, for "auto" some of them.

    Those of "auto" come round `REPEATS` times at least in the longest series.
    """
    if panel.kind == NUMBERS:
        if calendar not in (False, "auto"):
            raise DataError("the index holds numbers: there is no calendar, leave it at 'auto'")
        return ()
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
