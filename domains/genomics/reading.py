"""Text files, plain or gzip, whatever their names say; what goes wrong becomes one clear line."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from titans_seq.errors import DataError, reason

GZIP_MAGIC = b"\x1f\x8b"
"""First bytes of a gzip file."""
UNEXPECTED = (ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""What Biopython raises on what it did not expect."""


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a file as text, for reading; see `translate_read_errors`."""
    with translate_read_errors(path):
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == GZIP_MAGIC
        with gzip.open(path, "rt", encoding="utf-8-sig") if is_gzip else path.open(encoding="utf-8-sig") as file:
            yield file


@contextmanager
def translate_read_errors(path: Path) -> Iterator[None]:
    """Turn what the standard library, pandas and Biopython raise on unusable files into DataError."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: damaged gzip ({reason(error)})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {path}: it is not text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except UNEXPECTED as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
