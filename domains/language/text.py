"""Texts: from strings, files and the standard library, checked."""

import codecs
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError

Text = str | Path | Iterable[str]
"""A text, a file of UTF-8, or a text in pieces."""

EMBEDDED = "pydoc_data.topics"
"""The text that every Python has: the reference chapters behind `help()`, some 465,000 characters of English."""

PIECE = 2**16
"""Bytes of a file that are read at a time."""


def embedded_text() -> str:
    """Return the chapters of `EMBEDDED`, by name; it differs a little between versions of Python (see `sha256`)."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def read_text(text: Text) -> str:
    """Return all of a text.

    Raises:
        DataError: it is empty, no text, or a file that cannot be read or is not UTF-8.
    """
    return "".join(pieces(text))


def pieces(text: Text) -> Iterator[str]:
    """Yield a text piece by piece, no piece empty; a file is never in memory as a whole. Errors as in `read_text`."""
    found = False
    for piece in _pieces(text):
        if not isinstance(piece, str):
            raise DataError(f"a text is made of str, not of {type(piece).__name__}")
        if piece:
            found = True
            yield piece
    if not found:
        raise DataError(f"{text} is empty" if isinstance(text, Path) else "the text is empty")


def _pieces(text: Any) -> Iterable[Any]:
    if isinstance(text, str):
        return [text]
    if isinstance(text, Path):
        return _file(text)
    if isinstance(text, bytes | bytearray) or not isinstance(text, Iterable):
        raise DataError(f"a text must be a str, a Path or str in pieces, not {type(text).__name__}")
    return text


def _file(path: Path) -> Iterator[str]:
    decoder, place = codecs.getincrementaldecoder("utf-8-sig")(), 0
    try:
        with path.open("rb") as file:
            while data := file.read(PIECE):
                if b"\0" in data:
                    raise DataError(f"{path} is binary, not text: a zero byte at {place + data.index(0)}")
                pending = len(decoder.getstate()[0])
                try:
                    yield decoder.decode(data)
                except UnicodeDecodeError as error:
                    raise _wrong(path, place - pending, error) from None
                place += len(data)
            try:
                decoder.decode(b"", final=True)
            except UnicodeDecodeError as error:
                raise _wrong(path, place - len(error.object), error) from None
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _wrong(path: Path, start: int, error: UnicodeDecodeError) -> DataError:
    byte = error.object[error.start]
    return DataError(f"{path} is not UTF-8: byte 0x{byte:02x} at {start + error.start} ({error.reason})")


def sha256(text: str) -> str:
    """Return the SHA-256 of the text's UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
