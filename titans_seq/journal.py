"""Results of pieces of work, kept in a file as they come, so that work that was killed goes on where it was."""

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from titans_seq.errors import DataError

HEAD = 12
"""Bytes before each result: its length and its CRC-32."""
LARGEST = 2**28
"""Bytes of a result at the most."""


class Journal:
    """Results, as bytes, in the order of the work.

    Args:
        path: the file; it goes when the work is done, or cannot be done.
        key: what the results depend on, as plain values; results of another key are dropped.

    Raises:
        DataError: another process is at the same work.
    """

    def __init__(self, path: Path, key: Any) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(path.name + ".lock"), blocking=False)
        self._first = json.dumps(key, sort_keys=True).encode() + b"\n"
        self.kept = 0
        """Results of an earlier process."""

    def __enter__(self) -> Self:
        try:
            self._lock.acquire()
        except Timeout:
            raise DataError(f"another process is at the same work: {self._lock.lock_file} is held") from None
        try:
            self._file = self.path.open("r+b" if self.path.exists() else "w+b")
            if self._file.readline() == self._first:
                end = self._file.tell()
                for payload in self._read():
                    self.kept += 1
                    end += HEAD + len(payload)
                self._file.truncate(end)
            else:
                self._file.seek(0)
                self._file.truncate()
                self._file.write(self._first)
                self._file.flush()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()
        if kind is None or issubclass(kind, DataError):
            self.path.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        Path(self._lock.lock_file).unlink(missing_ok=True)  # while it is held: nobody can be waiting for it
        self._lock.release()

    def restore(self) -> Iterator[bytes]:
        """Yield the results of an earlier process."""
        self._file.seek(len(self._first))
        yield from self._read()

    def append(self, payload: bytes) -> None:
        """Keep a result."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(len(payload).to_bytes(8, "little") + zlib.crc32(payload).to_bytes(4, "little") + payload)
        self._file.flush()

    def _read(self) -> Iterator[bytes]:
        """Yield results up to the first that is cut short or damaged."""
        while len(head := self._file.read(HEAD)) == HEAD:
            size = int.from_bytes(head[:8], "little")
            payload = self._file.read(size) if size <= LARGEST else b""
            if len(payload) != size or zlib.crc32(payload).to_bytes(4, "little") != head[8:]:
                return
            yield payload
