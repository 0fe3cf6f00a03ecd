"""Public data by name: a folder of the user's, the cache, or a download that is checked. Each domain has a table."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from titans_seq.errors import DataError, reason


@dataclass(frozen=True)
class File:
    """One file of a data set."""

    path: str
    """Below `TITANS_SEQ_DATA` and below the cache."""
    sha256: str
    url: str | None = None
    """None: there is no address to download it from; the user puts it where `TITANS_SEQ_DATA` points."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Files that belong together; several of them share one folder."""

    files: tuple[File, ...]
    licence: str

    @property
    def path(self) -> str:
        """The file, or the folder of several files, below `TITANS_SEQ_DATA`."""
        first = self.files[0].path
        return first if len(self.files) == 1 else str(Path(first).parent)


D = TypeVar("D", bound=Dataset)


def find(name: str, datasets: Mapping[str, D]) -> D:
    """Return the data set of that name.

    Raises:
        DataError: there is none.
    """
    if name not in datasets:
        raise DataError(f"no data set named {name!r}; there are {', '.join(datasets)}")
    return datasets[name]


def locate(dataset: Dataset) -> Path | None:
    """Return the file or folder below `TITANS_SEQ_DATA` or in the cache; None if neither has all of it."""
    root = os.environ.get("TITANS_SEQ_DATA")
    for folder in ([Path(root)] if root else []) + [_cache()]:
        if all((folder / file.path).is_file() for file in dataset.files):
            return folder / dataset.path
    return None


def fetch(name: str, datasets: Mapping[str, Dataset], progress: bool = False) -> Path:
    """Locate, or download into the cache; a download that does not match its checksum is thrown away.

    Raises:
        DataError: unknown name, no address, no network, or another file than expected.
    """
    dataset = find(name, datasets)
    if (path := locate(dataset)) is not None:
        return path
    if any(file.url is None for file in dataset.files):
        raise DataError(f"{name} has no address to download from: put {dataset.path} below TITANS_SEQ_DATA")
    import pooch

    for file in dataset.files:
        target = _cache() / file.path
        try:
            pooch.retrieve(file.url, f"sha256:{file.sha256}", target.name, target.parent, progressbar=progress)
        except Exception as error:
            raise DataError(f"cannot download {name}: {reason(error)}") from error
    return _cache() / dataset.path


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("titans-seq"))
