"""Public benchmark files by name: a folder of the user's, the cache, or a download that is checked."""

import os
from dataclasses import dataclass
from pathlib import Path

from titans_seq.errors import DataError, reason

ETT = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/"


@dataclass(frozen=True)
class Dataset:
    """A file, and how the long-horizon protocol splits it."""

    file: str
    """Path below `TITANS_SEQ_DATA`."""
    sha256: str
    url: str | None
    """None: there is no address to download it from; put it where `TITANS_SEQ_DATA` points."""
    licence: str
    rows: tuple[int, int, int] | None
    """Train, validation, test; None for 70 / 10 / 20 percent."""


_MONTH = 30 * 24
_HOURLY, _QUARTERS = (12 * _MONTH, 4 * _MONTH, 4 * _MONTH), (48 * _MONTH, 16 * _MONTH, 16 * _MONTH)
_CC = "CC BY-ND 4.0"

DATASETS: dict[str, Dataset] = {
    name: Dataset(f"timeseries/{name}.csv", sha256, address and f"{address}{name}.csv", licence, rows)
    for name, sha256, address, licence, rows in (
        ("ETTh1", "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066", ETT, _CC, _HOURLY),
        ("ETTh2", "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b", ETT, _CC, _HOURLY),
        ("ETTm1", "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e", ETT, _CC, _QUARTERS),
        ("ETTm2", "db973ca252c6410a30d0469b13d696cf919648d0f3fd588c60f03fdbdbadd1fd", ETT, _CC, _QUARTERS),
        ("weather", "34ee981d07313e51da2a50bb600072c8ae4a69cb4b0651f4cb93a069d7a2ba63", None, "research use", None),
    )
}


def locate(name: str) -> Path | None:
    """The file below `TITANS_SEQ_DATA` or in the cache; None if it is in neither."""
    dataset = _get(name)
    root = os.environ.get("TITANS_SEQ_DATA")
    for path in ([Path(root) / dataset.file] if root else []) + [_cache() / dataset.file]:
        if path.is_file():
            return path
    return None


def fetch(name: str, progress: bool = False) -> Path:
    """`locate`, or download into the cache; a download that does not match its checksum is thrown away.

    Raises:
        DataError: unknown name, no address, no network, or another file than expected.
    """
    if (path := locate(name)) is not None:
        return path
    dataset = _get(name)
    if dataset.url is None:
        raise DataError(f"{name} has no address to download from: put {dataset.file} below TITANS_SEQ_DATA")
    import pooch

    target = _cache() / dataset.file
    try:
        pooch.retrieve(dataset.url, f"sha256:{dataset.sha256}", target.name, target.parent, progressbar=progress)
    except Exception as error:
        raise DataError(f"cannot download {name}: {reason(error)}") from error
    return target


def _get(name: str) -> Dataset:
    if name not in DATASETS:
        raise DataError(f"no data set named {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("titans-seq"))
