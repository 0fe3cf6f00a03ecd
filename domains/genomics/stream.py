"""Windows of a FASTA file of any size, in constant memory.

Axes: L letters of a stretch, W windows, S letters of a window.
"""

import gzip
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import encode
from titans_seq.errors import DataError, TitansSeqWarning, reason

BLOCK = 2**18
"""Bytes read at once."""


@dataclass(frozen=True)
class Stretch:
    """Letters of one record that follow each other."""

    name: str
    """Of the record: the title up to the first blank."""
    start: int
    """Letters of the record before it."""
    codes: NDArray[np.uint8]
    """(L,)."""
    last: bool
    """The record ends here."""


@dataclass(frozen=True)
class Windows:
    """Windows of one record."""

    name: str
    """Of the record."""
    starts: NDArray[np.int64]
    """Letters of the record before each (W,)."""
    codes: NDArray[np.uint8]
    """(W, S); S is less than the window only for a record that is shorter."""


def read_stretches(path: Path, on_bytes: Callable[[int], object] | None = None) -> Iterator[Stretch]:
    """The records of a FASTA file, plain or gzip, in stretches of some hundred thousand letters.

    Args:
        on_bytes: called with the bytes of the file that have been read so far.

    Raises:
        DataError: no such file, damaged, not FASTA, a record without letters, two of one name, letters not of DNA.
    """
    seen: set[str] = set()
    name, start, told = "", 0, False
    for title, text, last in _pieces(path, on_bytes):
        if title is not None:
            name, start = title, 0
            if name in seen:
                raise DataError(f"{path} has two records named {name!r}")
            seen.add(name)
        if last and start == 0 and not text:
            raise DataError(f"{path}: record {name!r} has no letters")
        where = f"{path}: record {name!r}" + (f", behind letter {start:,}," if start else "")
        if not told and (b"U" in text or b"u" in text):
            told = True
            warnings.warn(f"{path} holds U, as RNA does: it is read as T", TitansSeqWarning, stacklevel=2)
        codes = encode(text, where) if text else np.empty(0, dtype=np.uint8)
        yield Stretch(name, start, codes, last)
        start += len(codes)


def _pieces(path: Path, on_bytes: Callable[[int], object] | None) -> Iterator[tuple[str | None, bytes, bool]]:
    """(name at a record's first piece, else None; letters without line ends; whether it is the record's last)."""
    title: str | None = None
    inside = False
    for lines in _lines(path, on_bytes):
        letters: list[bytes] = []
        for line in lines:
            if not line.startswith(b">"):
                letters.append(line.translate(None, b" \t\r"))
                continue
            if inside:
                yield title, b"".join(letters), True
                letters = []
            title, inside = _name(line, path), True
        joined = b"".join(letters)
        if joined:
            if not inside:
                raise DataError(f"{path} is no FASTA: it begins with {_shown(joined)}, not >")
            yield title, joined, False
            title = None
    if not inside:
        raise DataError(f"{path} is empty")
    yield title, b"", True


def _lines(path: Path, on_bytes: Callable[[int], object] | None) -> Iterator[list[bytes]]:
    """Lines of one block after the other; an unfinished title waits for its end, unfinished letters need not."""
    rest = b""
    for block in _blocks(path, on_bytes):
        *lines, unfinished = (rest + block).split(b"\n")
        rest = b""
        if unfinished.startswith(b">"):
            rest = unfinished
            if len(rest) > BLOCK:
                raise DataError(f"{path} has a title of more than {BLOCK:,} bytes")
        else:
            lines.append(unfinished)
        yield lines
    yield [rest] if rest else []


def _name(line: bytes, path: Path) -> str:
    words = line[1:].decode("utf-8", "replace").split()
    if not words:
        raise DataError(f"{path} has a record without a name")
    return words[0]


def _shown(block: bytes) -> str:
    return repr(block[:1].decode("latin-1"))


def _blocks(path: Path, on_bytes: Callable[[int], object] | None) -> Iterator[bytes]:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            first = True
            while block := file.read(BLOCK):
                if on_bytes is not None:
                    on_bytes(raw.tell())
                yield block.removeprefix(b"\xef\xbb\xbf") if first else block
                first = False
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: damaged gzip ({reason(error)})") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def windows_of(stretches: Iterable[Stretch], window: int, stride: int) -> Iterator[Windows]:
    """Windows every `stride` letters, and one more that ends where the record ends; a shorter record is one window."""
    start, following, kept = 0, 0, np.empty(0, dtype=np.uint8)  # of what is kept, and of the next window
    for stretch in stretches:
        if stretch.start == 0:
            start, following, kept = 0, 0, kept[:0]
        kept = np.concatenate([kept, stretch.codes])
        length = start + len(kept)
        count = max(0, (length - following - window) // stride + 1)
        if count:
            view = np.lib.stride_tricks.sliding_window_view(kept[following - start :], window)[::stride][:count]
            yield Windows(stretch.name, following + stride * np.arange(count), view)
            following += count * stride
        covered = following - stride + window if following else 0
        if stretch.last and covered < length:
            tail = kept[-window:]
            yield Windows(stretch.name, np.array([length - len(tail)]), tail[None])
        passed = max(0, following - stride - start)
        start, kept = start + passed, kept[passed:]
