"""Labelled sequences from files: FASTA, GenBank, CSV and TSV, plain or gzip.

Axes: L letters of a record.
"""

import gzip
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from titans_seq.errors import DataError, reason

FASTA = (".fa", ".fasta", ".fna", ".ffn", ".fas")
GENBANK = (".gb", ".gbk", ".gbff", ".genbank")
TABLES = (".csv", ".tsv", ".txt", ".tab")
SEQUENCE_NAMES = ("sequence", "seq", "dna", "text")
LABEL_NAMES = ("label", "class", "target", "y")
DAMAGED = (OSError, EOFError, UnicodeDecodeError, zlib.error, ValueError)
"""What the standard library and Biopython raise on damaged files."""


@dataclass(frozen=True)
class Labelled:
    """Sequences, what each is called, and its class."""

    sequences: list[str]
    labels: list[Any]
    names: list[str]
    groups: list[str]
    """What must not be torn apart in a split: the record a window was cut from; else the name."""


def read_labelled(path: str | Path, feature: str = "CDS", window: int = 300, stride: int = 300) -> Labelled:
    """Sequences and classes from a table (columns sequence and label) or a GenBank file (windows, see `windows`).

    Raises:
        DataError: no such file, damaged, of another kind, or without labels.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind in GENBANK:
        return windows(path, feature, window, stride)
    if kind in FASTA:
        raise DataError(f"{path} is FASTA, which has no labels: a table with columns sequence and label is needed")
    return read_table(path)


def kind_of(path: Path) -> str:
    """The file's suffix without .gz, checked."""
    if not path.exists():
        raise DataError(f"no such file: {path}")
    if path.is_dir():
        raise DataError(f"{path} is a folder, a file is needed")
    suffix = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if suffix not in FASTA + GENBANK + TABLES:
        known = ", ".join(FASTA + GENBANK + TABLES)
        raise DataError(f"{path}: {suffix or 'no suffix'} is no kind of sequence file; one of {known}, or .gz of it")
    return suffix


def read_sequences(path: str | Path) -> tuple[list[str], list[str]]:
    """Names and sequences of a FASTA or GenBank file, or of a table with a column of sequences; labels are not needed.

    Raises:
        DataError: no such file, damaged, of another kind, or without sequences.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind in TABLES:
        frame, names = _read_frame(path)
        column = _column(path, names, SEQUENCE_NAMES, "sequence")
        return _ids(path, frame, names), frame[column].str.strip().tolist()
    pairs = list(read_fasta(path) if kind in FASTA else _read_genbank(path))
    if not pairs:
        raise DataError(f"{path} has no records")
    return [name for name, _ in pairs], [sequence for _, sequence in pairs]


def _read_genbank(path: Path) -> Iterator[tuple[str, str]]:
    from Bio import BiopythonWarning, SeqIO

    try:
        with opened(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", BiopythonWarning)
            for record in SeqIO.parse(file, "genbank"):  # type: ignore[no-untyped-call]
                yield record.id, str(record.seq)
    except DataError:
        raise
    except DAMAGED as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error


def read_table(path: Path) -> Labelled:
    """A CSV or TSV file with a column of sequences and one of labels, found by name."""
    frame, names = _read_frame(path)
    sequence = next((names[n] for n in SEQUENCE_NAMES if n in names), None)
    label = next((names[n] for n in LABEL_NAMES if n in names), None)
    if sequence is None or label is None:
        raise DataError(f"{path} needs columns sequence and label, it has {', '.join(map(str, frame.columns))}")
    labels = frame[label].str.strip()
    if (labels == "").any():
        raise DataError(f"{path} has no label in row {int((labels == '').argmax()) + 2}")
    ids = _ids(path, frame, names)
    return Labelled(frame[sequence].str.strip().tolist(), labels.tolist(), ids, ids)


def _read_frame(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A table as text, and its columns by their names in lower case."""
    with opened(path) as file:
        first = file.readline()
    separator = "\t" if "\t" in first else ","
    try:
        with opened(path) as file:
            frame = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)
    except DataError:
        raise
    except DAMAGED as error:  # pandas' own errors among them
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    if frame.empty:
        raise DataError(f"{path} has a header but no rows")
    return frame, {str(c).strip().lower(): c for c in frame.columns}


def _column(path: Path, names: dict[str, Any], known: tuple[str, ...], what: str) -> Any:
    found = next((names[n] for n in known if n in names), None)
    if found is None:
        raise DataError(f"{path} needs a column {what}, it has {', '.join(map(str, names.values()))}")
    return found


def _ids(path: Path, frame: pd.DataFrame, names: dict[str, Any]) -> list[str]:
    """What the rows are called: a column `id`, which must not repeat, or their place in the file."""
    if "id" not in names:
        return [f"row {i + 2}" for i in range(len(frame))]
    ids: list[str] = frame[names["id"]].tolist()
    twice = next((name for name, count in Counter(ids).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{path} has two rows with the id {twice!r}")
    return ids


def read_fasta(path: Path) -> Iterator[tuple[str, str]]:
    """(name, sequence) of each record.

    Raises:
        DataError: no record, an empty one, two of one name, or text before the first.
    """
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    seen: Counter[str] = Counter()
    try:
        with opened(path) as file:
            head = file.read(1)
            if not head:
                raise DataError(f"{path} is empty")
            if head != ">":
                raise DataError(f"{path} is no FASTA: it begins with {head!r}, not >")
            file.seek(0)
            for title, sequence in SimpleFastaParser(file):  # type: ignore[no-untyped-call]
                name = title.split(None, 1)[0] if title.strip() else ""
                seen[name] += 1
                if seen[name] > 1:
                    raise DataError(f"{path} has two records named {name!r}")
                if not sequence:
                    raise DataError(f"{path}: record {name!r} has no letters")
                yield name, sequence
    except DataError:
        raise
    except DAMAGED as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error


def windows(path: Path, feature: str = "CDS", window: int = 300, stride: int = 300) -> Labelled:
    """Windows of a GenBank file's records, labelled by whether most of a window lies in a feature of that type.

    Windows that lie between a fifth and four fifths inside are left out: they are neither.

    Raises:
        DataError: no record, no letters, no such feature, or windows longer than every record.
    """
    from Bio import BiopythonWarning, SeqIO

    if window < 1 or stride < 1:
        raise DataError(f"window and stride must be at least 1, not {window} and {stride}")
    found = Labelled([], [], [], [])
    kinds: Counter[str] = Counter()
    try:
        with opened(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", BiopythonWarning)
            for record in SeqIO.parse(file, "genbank"):  # type: ignore[no-untyped-call]
                text = str(record.seq)
                inside = np.zeros(len(text), dtype=bool)
                for item in record.features:
                    kinds[item.type] += 1
                    if item.type == feature:
                        for part in item.location.parts:
                            inside[int(part.start) : int(part.end)] = True
                for start in range(0, len(text) - window + 1, stride):
                    share = float(inside[start : start + window].mean())
                    if 0.2 < share < 0.8:
                        continue
                    found.sequences.append(text[start : start + window])
                    found.labels.append(feature if share >= 0.8 else f"no {feature}")
                    found.names.append(f"{record.id}:{start + 1}-{start + window}")
                    found.groups.append(f"{record.id}:{start // (10 * window)}")
    except DataError:
        raise
    except DAMAGED as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    if not kinds:
        raise DataError(f"{path} has no records with features")
    if not kinds[feature]:
        raise DataError(f"{path} has no feature {feature!r}; it has {', '.join(sorted(kinds))}")
    if not found.sequences:
        raise DataError(f"{path} has no record as long as a window of {window}")
    return found


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """The file as text, unpacked if it is gzip, whatever its name says."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: damaged gzip ({reason(error)})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {path}: it is not text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
