"""Files that are written at once or not at all, and what tells them apart."""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError


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
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


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
