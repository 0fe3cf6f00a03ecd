"""Files that are written at once or not at all, and what tells them apart."""

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from titans_seq.errors import DataError

SUFFIX, RANDOM = ".tmp", 8
"""End of the name of a working folder, and the random letters before it."""
LOCK, FRESH, OLD = "lock", "new", "replaced"
"""What stands in a working folder."""


def write_json(path: Path, values: Any) -> None:
    """Write JSON at once or not at all; numbers that are not finite become null."""
    write_text(path, to_json(values, indent=2) + "\n")


def to_json(values: Any, indent: int | None = None) -> str:
    """Return values as JSON; numbers that are not finite become null."""
    return json.dumps(_plain(values), indent=indent, allow_nan=False, default=str)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text at once or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def digest(path: Path) -> str:
    """Return SHA-256 of a file, or of all files of a folder; DataError if one cannot be read."""
    total = hashlib.sha256()
    try:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            with file.open("rb") as stream:
                part = hashlib.file_digest(stream, "sha256")
            total = part if file == path else hashlib.sha256(total.digest() + part.digest())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return total.hexdigest()


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write to, which becomes `path` if all goes well and vanishes if not."""
    with working_folder(path) as folder:
        temporary = folder / path.name
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which takes the place of `path`, or of nothing, if all goes well.

    Between two renames nothing stands at `path`; `mend` puts it back if the process dies there.
    """
    with working_folder(path) as folder:
        fresh = folder / FRESH
        fresh.mkdir()
        yield fresh
        try:
            if path.exists():
                path.rename(folder / OLD)
            fresh.rename(path)
        except BaseException:
            if not path.exists() and (folder / OLD).exists():
                (folder / OLD).rename(path)
            raise


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `path`, gone afterwards; what killed processes left of its kind goes as well.

    A lock that dies with its process tells which of them are still at work.
    """
    mend(path)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=SUFFIX, dir=path.parent))
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire()
            break
        except FileNotFoundError:  # another process took it for one that was left, before it was locked
            continue
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def mend(path: Path) -> None:
    """Finish a replacement of `path` that a killed process left between its two renames, and remove what it left."""
    for left in path.parent.glob(f".{escape(path.name)}-*{SUFFIX}"):
        if len(left.name) != len(path.name) + RANDOM + len(SUFFIX) + 2:  # of a longer name that begins like this one
            continue
        try:
            with FileLock(left / LOCK, blocking=False):
                if (left / OLD).exists() and not path.exists():
                    (left / (FRESH if (left / FRESH).exists() else OLD)).rename(path)
                shutil.rmtree(left, ignore_errors=True)
        except (Timeout, OSError):  # at work, gone already, or not ours
            continue


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: NumPy's as Python's, numbers that are not finite as None."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
