"""A genome that is read at any place: a FASTA file, plain or BGZF, by its index. Axes: L letters."""

import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import UNKNOWN, encode
from titans_seq.errors import DataError, TitansSeqWarning, reason

SHOWN = 5
"""Names that an error message shows at the most."""
MITOCHONDRIA = ("M", "MT")
"""Names of the mitochondrial contig."""


class Genome:
    """Contigs of a FASTA file, read through pyfaidx; its index (.fai) is made beside the file if there is none.

    Args:
        path: FASTA, plain or compressed by bgzip.

    Raises:
        DataError: the file is missing, a folder, plain gzip, or not FASTA.
    """

    def __init__(self, path: Path) -> None:
        from pyfaidx import Fasta, FastaIndexingError, UnsupportedCompressionFormat

        self.path = path
        if path.is_dir():
            raise DataError(f"{path} is a folder, a FASTA file is needed")
        if not path.is_file():
            raise DataError(f"no such file: {path}")
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        try:
            with path.open("rb") as file:
                head = file.read(16)
            if head[:2] != b"\x1f\x8b" and head.removeprefix(b"\xef\xbb\xbf")[:1] != b">":
                raise DataError(f"{path} is no FASTA: it begins with {head[:1].decode('latin-1')!r}, not >")
            self._fasta = Fasta(str(path), as_raw=True, rebuild=True, indexname=self._index())
        except UnsupportedCompressionFormat as error:
            raise DataError(f"{path} is gzip, which is not read at any place: compress it by bgzip") from error
        except (FastaIndexingError, ValueError, OSError, EOFError) as error:
            index = path.with_name(path.name + ".fai")
            hint = f" (if its index {index} is damaged, remove that)" if index.exists() else ""
            raise DataError(f"cannot read {path}: {reason(error)}{hint}") from error
        self.lengths: dict[str, int] = {name: len(self._fasta[name]) for name in self._fasta.keys()}  # noqa: SIM118
        if not self.lengths:
            raise DataError(f"{path} has no records")
        self._renamed: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._fasta.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _index(self) -> str | None:
        """Return where the index stands: beside the file, or, where nothing can be written, in a passing folder."""
        beside = self.path.with_name(self.path.name + ".fai")
        try:
            if beside.is_file() and beside.stat().st_mtime >= self.path.stat().st_mtime:
                return None
            with tempfile.TemporaryFile(dir=self.path.parent):
                return None
        except OSError:
            self._folder = tempfile.TemporaryDirectory()
            return str(Path(self._folder.name) / beside.name)

    def find(self, name: str) -> str | None:
        """Return what the genome calls a contig: the same, or the same but for chr before it; None: there is none."""
        if name in self.lengths:
            return name
        bare = name.removeprefix("chr")
        same = MITOCHONDRIA if bare in MITOCHONDRIA else (bare,)
        return next((other for n in same for other in (n, f"chr{n}") if other in self.lengths), None)

    def check_names(self, names: Iterable[str], source: object) -> None:
        """Refuse contigs that the genome does not have, and say which names are taken for others.

        Raises:
            DataError: there are such contigs.
        """
        found = {name: self.find(name) for name in dict.fromkeys(names)}
        unknown = [name for name, own in found.items() if own is None]
        if unknown:
            raise DataError(
                f"{source} has {len(unknown)} of {len(found)} contigs that {self.path} has not: {_shown(unknown)}; "
                f"the genome has {_shown(list(self.lengths))}"
            )
        renamed = {name: own for name, own in found.items() if own not in (None, name)}
        if renamed:
            name, own = next(iter(renamed.items()))
            warnings.warn(
                f"{source} calls {name!r} what {self.path} calls {own!r}: taken as the same, {len(renamed)} contigs",
                TitansSeqWarning,
                stacklevel=2,
            )

    def length(self, name: str) -> int:
        """Return the letters of a contig."""
        return self.lengths[self._own(name)]

    def fetch(self, name: str, start: int, end: int) -> NDArray[np.uint8]:
        """Return the codes (L,) of a contig's letters from `start` (counted from 0) to before `end`.

        Letters beyond the ends of the contig are unknown ones.

        Raises:
            DataError: there is no such contig, or it has letters that are not DNA's.
        """
        own = self._own(name)
        first, last = max(start, 0), min(end, self.lengths[own])
        codes = np.full(end - start, UNKNOWN, dtype=np.uint8)
        if first < last:
            text = self._fasta[own][first:last]
            codes[first - start : last - start] = encode(
                text.encode("latin-1"), f"{self.path}: contig {own!r}, behind letter {first:,},"
            )
        return codes

    def _own(self, name: str) -> str:
        if name not in self._renamed:
            found = self.find(name)
            if found is None:
                raise DataError(f"{self.path} has no contig {name!r}; it has {_shown(list(self.lengths))}")
            self._renamed[name] = found
        return self._renamed[name]


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
