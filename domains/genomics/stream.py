"""Windows of a FASTA file of any size, in constant memory.

Axes: L letters of a stretch, W windows, S letters of a window.
"""

import gzip
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import encode
from titans_seq.domains.genomics.reading import GZIP_MAGIC, translate_read_errors
from titans_seq.errors import DataError, TitansSeqWarning

BLOCK = 2**18
"""Bytes read at once."""


@dataclass(frozen=True)
class Stretch:
    """Letters of one record that follow each other."""

    name: str
    """Name of the record: its title up to the first blank."""
    start: int
    """Letters of the record before the stretch."""
    codes: NDArray[np.uint8]
    """Codes of the letters (L,)."""
    is_last: bool
    """Whether the record ends here."""


@dataclass(frozen=True)
class RecordWindows:
    """Windows of one record."""

    name: str
    """Name of the record."""
    starts: NDArray[np.int64]
    """Letters of the record before each window (W,)."""
    codes: NDArray[np.uint8]
    """Codes of the letters (W, S); S is less than was asked for only where the record is shorter."""


def read_stretches(path: Path, on_bytes: Callable[[int], object] | None = None) -> Iterator[Stretch]:
    """Yield the records of a FASTA file, plain or gzip, in stretches of some hundred thousand letters.

    Args:
        on_bytes: called with the bytes of the file that have been read so far.

    Raises:
        DataError: the file is missing, damaged or not FASTA, or has a record without letters, two records of one
            name, or letters that are not DNA's.
    """
    seen: set[str] = set()
    name, start, has_warned = "", 0, False
    for title, text, is_last in _pieces(path, on_bytes):
        if title is not None:
            name, start = title, 0
            if name in seen:
                raise DataError(f"{path} has two records named {name!r}")
            seen.add(name)
        if is_last and start == 0 and not text:
            raise DataError(f"{path}: record {name!r} has no letters")
        where = f"{path}: record {name!r}" + (f", behind letter {start:,}," if start else "")
        if not has_warned and (b"U" in text or b"u" in text):
            has_warned = True
            warnings.warn(f"{path} holds U, as RNA does: it is read as T", TitansSeqWarning, stacklevel=2)
        codes = encode(text, where) if text else np.empty(0, dtype=np.uint8)
        yield Stretch(name, start, codes, is_last)
        start += len(codes)


def record_lengths(path: Path) -> dict[str, int]:
    """Return the letters of each record of a FASTA file, in its order, in constant memory."""
    lengths: dict[str, int] = {}
    for stretch in read_stretches(path):
        lengths[stretch.name] = stretch.start + len(stretch.codes)
    return lengths


def share_records(lengths: Mapping[str, int], part: int, parts: int) -> list[str]:
    """Return the records of one of several shares of like size; one behind the other they are all, in order.

    Args:
        lengths: letters of each record.
        part: number of the share, from 1 to `parts`.
    """
    total, start, own = sum(lengths.values()), 0, []
    for name, size in lengths.items():
        if (2 * start + size) * parts // (2 * total) == part - 1:
            own.append(name)
        start += size
    return own


def _pieces(path: Path, on_bytes: Callable[[int], object] | None) -> Iterator[tuple[str | None, bytes, bool]]:
    """Yield the record's name (None behind its first piece), letters without line ends, and whether it ends here."""
    title: str | None = None
    has_title = False
    for lines in _lines(path, on_bytes):
        letters: list[bytes] = []
        for line in lines:
            if not line.startswith(b">"):
                letters.append(line.translate(None, b" \t\r"))
                continue
            if has_title:
                yield title, b"".join(letters), True
                letters = []
            title, has_title = _record_name(line, path), True
        text = b"".join(letters)
        if text:
            if not has_title:
                raise DataError(f"{path} is no FASTA: it begins with {text[:1].decode('latin-1')!r}, not >")
            yield title, text, False
            title = None
    if not has_title:
        raise DataError(f"{path} is empty")
    yield title, b"", True


def _lines(path: Path, on_bytes: Callable[[int], object] | None) -> Iterator[list[bytes]]:
    """Yield the lines of each block; an unfinished title waits for its end, unfinished letters need not."""
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


def _record_name(title: bytes, path: Path) -> str:
    words = title[1:].decode("utf-8", "replace").split()
    if not words:
        raise DataError(f"{path} has a record without a name")
    return words[0]


def _blocks(path: Path, on_bytes: Callable[[int], object] | None) -> Iterator[bytes]:
    """Yield the bytes of a file, unpacked, without a byte order mark."""
    with translate_read_errors(path), path.open("rb") as raw:
        is_gzip = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        file: IO[bytes] = gzip.GzipFile(fileobj=raw) if is_gzip else raw  # type: ignore[assignment]
        is_first = True
        while block := file.read(BLOCK):
            if on_bytes is not None:
                on_bytes(raw.tell())
            yield block.removeprefix(b"\xef\xbb\xbf") if is_first else block
            is_first = False


def cut_windows(stretches: Iterable[Stretch], window: int, stride: int) -> Iterator[RecordWindows]:
    """Yield windows every `stride` letters, and one that ends where the record ends; a shorter record is one window."""
    start, following, kept = 0, 0, np.empty(0, dtype=np.uint8)  # start of what is kept, start of the next window
    for stretch in stretches:
        if stretch.start == 0:
            start, following, kept = 0, 0, kept[:0]
        kept = np.concatenate([kept, stretch.codes])
        length = start + len(kept)
        count = max(0, (length - following - window) // stride + 1)
        if count:
            view = np.lib.stride_tricks.sliding_window_view(kept[following - start :], window)[::stride][:count]
            yield RecordWindows(stretch.name, following + stride * np.arange(count), view)
            following += count * stride
        covered = following - stride + window if following else 0
        if stretch.is_last and covered < length:
            tail = kept[-window:]
            yield RecordWindows(stretch.name, np.array([length - len(tail)]), tail[None])
        passed = max(0, following - stride - start)
        start, kept = start + passed, kept[passed:]
