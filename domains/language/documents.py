"""Texts that have nothing to do with each other, from any iterable, JSON Lines, or a folder of text files."""

import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from titans_seq.domains.language.text import read_text
from titans_seq.errors import DataError, TitansSeqWarning

LINES = (".jsonl", ".ndjson")
"""Names of JSON Lines files end so."""


class Documents:
    """Texts each of which is read with a memory that begins anew, and comes to an end.

    Args:
        texts: a list, a column of a frame, a generator of str; those that are empty are left out with a warning.

    Raises:
        DataError: there is no text, or something is no str; the message says which.

    Examples:
        >>> len(Documents(["to be", "or not to be"]))
        2
    """

    def __init__(self, texts: Iterable[str]) -> None:
        if isinstance(texts, str | bytes | Path) or not isinstance(texts, Iterable):
            raise DataError(f"documents must be a list of str, not {type(texts).__name__}")
        found = [*texts]
        for number, text in enumerate(found, 1):
            if not isinstance(text, str):
                raise DataError(f"document {number} must be a str, not {type(text).__name__}")
        self.texts = tuple(text for text in found if text)
        if not self.texts:
            raise DataError("there is no document that is not empty")
        if len(self.texts) < len(found):
            message = f"{len(found) - len(self.texts)} of {len(found)} documents are empty and left out"
            warnings.warn(message, TitansSeqWarning, stacklevel=2)

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"Documents({len(self)} texts, {sum(map(len, self.texts)):,} characters)"

    @classmethod
    def read(cls, path: str | Path, field: str = "text") -> "Documents":
        """Return the documents of a JSON Lines file, one a line, or of a folder's `*.txt`, in the order of their names.

        Args:
            field: of each line that holds its text.

        Raises:
            DataError: what is read is not that; the message says which line or file.
        """
        path = Path(path)
        if path.is_dir():
            files = sorted(path.glob("*.txt"))
            if not files:
                raise DataError(f"{path} holds no file *.txt")
            return cls(read_text(file) for file in files if file.stat().st_size)
        return cls(_lines(path, field))

    @staticmethod
    def are_at(path: Path) -> bool:
        """Return whether `read` is for what stands at a path, by its name."""
        return path.is_dir() or path.suffix in LINES

    def split(self, share: float, seed: int) -> tuple["Documents", "Documents"]:
        """Return the documents but for some, and those: chosen by chance, with a share of the characters at the least.

        Raises:
            DataError: there is one only.
        """
        if len(self) < 2:
            raise DataError("there is 1 document: to hold some back at least 2 are needed, or give it as a text")
        order = np.random.default_rng(seed).permutation(len(self))
        lengths = np.array([len(text) for text in self.texts])[order]
        count = int(np.searchsorted(lengths.cumsum(), share * lengths.sum())) + 1
        back = {*order[: min(count, len(self) - 1)].tolist()}
        parts = ([t for i, t in enumerate(self.texts) if (i in back) == held] for held in (False, True))
        first, second = (Documents(part) for part in parts)
        return first, second


def _lines(path: Path, field: str) -> Iterator[str]:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"{path}, line {number}: no JSON") from None
        if not isinstance(row, dict) or not isinstance(row.get(field), str):
            known = [name for name, value in row.items() if isinstance(value, str)] if isinstance(row, dict) else []
            raise DataError(
                f"{path}, line {number}: no text {field!r}" + (f", but {', '.join(known[:5])}" if known else "")
            )
        yield row[field]
