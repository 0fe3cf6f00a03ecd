"""Sequences from files, with classes or without: FASTA, GenBank, CSV and TSV, plain or gzip."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from titans_seq.domains.genomics.alphabet import decode
from titans_seq.domains.genomics.reading import open_text
from titans_seq.errors import DataError

FASTA = (".fa", ".fasta", ".fna", ".ffn", ".fas")
GENBANK = (".gb", ".gbk", ".gbff", ".genbank")
GFF3 = (".gff3", ".gff")
BED = (".bed", ".narrowpeak", ".broadpeak")
TABLES = (".csv", ".tsv", ".txt", ".tab")
SEQUENCE_COLUMNS = ("sequence", "seq", "dna", "text")
LABEL_COLUMNS = ("label", "class", "target", "y")


@dataclass(frozen=True)
class LabelledSequences:
    """Sequences, their names, and their classes."""

    sequences: list[str]
    labels: list[Any]
    names: list[str]
    groups: list[str]
    """What must not be torn apart in a split: the contig or the stretch of it that a window was cut from; else the
    name."""
    contigs: list[str] = field(default_factory=list)
    """The contig of each window; empty where they come from no genome."""


def sequence_suffix(path: Path, known: tuple[str, ...] = FASTA + GENBANK + TABLES) -> str:
    """Return the suffix of a file of sequences, in lower case, without .gz.

    Args:
        known: the suffixes that can be read.

    Raises:
        DataError: the file is missing, a folder, or of another kind.
    """
    if not path.exists():
        raise DataError(f"no such file: {path}")
    if path.is_dir():
        raise DataError(f"{path} is a folder, a file is needed")
    suffix = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if suffix not in known:
        raise DataError(
            f"{path}: {suffix or 'no suffix'} is no kind of sequence file; one of {', '.join(known)}, or .gz of it"
        )
    return suffix


def read_sequences(path: str | Path) -> tuple[list[str], list[str]]:
    """Return names and sequences of a FASTA or GenBank file, or of a table; labels are not needed.

    Raises:
        DataError: the file is missing, damaged, of another kind, or without sequences.
    """
    path = Path(path)
    suffix = sequence_suffix(path)
    if suffix in TABLES:
        frame, columns = _read_frame(path)
        column = next((columns[name] for name in SEQUENCE_COLUMNS if name in columns), None)
        if column is None:
            raise DataError(f"{path} needs a column sequence, it has {', '.join(map(str, columns.values()))}")
        return _row_names(path, frame, columns), frame[column].str.strip().tolist()
    if suffix in FASTA:
        pairs = list(read_fasta(path))
    else:
        from titans_seq.domains.genomics.annotations import read_genbank

        pairs = [(contig.name, decode(contig.fetch(0, contig.length))) for contig in read_genbank(path)]
    if not pairs:
        raise DataError(f"{path} has no records")
    return [name for name, _ in pairs], [sequence for _, sequence in pairs]


def read_table(path: Path) -> LabelledSequences:
    """Read a CSV or TSV file with a column of sequences and one of labels, found by their names."""
    frame, columns = _read_frame(path)
    sequence = next((columns[name] for name in SEQUENCE_COLUMNS if name in columns), None)
    label = next((columns[name] for name in LABEL_COLUMNS if name in columns), None)
    if sequence is None or label is None:
        raise DataError(f"{path} needs columns sequence and label, it has {', '.join(map(str, frame.columns))}")
    labels = frame[label].str.strip()
    if (labels == "").any():
        raise DataError(f"{path} has no label in row {int((labels == '').argmax()) + 2}")
    names = _row_names(path, frame, columns)
    return LabelledSequences(frame[sequence].str.strip().tolist(), labels.tolist(), names, names)


def _read_frame(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a table as text, and its columns by their names in lower case."""
    with open_text(path) as file:
        separator = "\t" if "\t" in file.readline() else ","
        file.seek(0)
        frame = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)
    if frame.empty:
        raise DataError(f"{path} has a header but no rows")
    return frame, {str(c).strip().lower(): c for c in frame.columns}


def _row_names(path: Path, frame: pd.DataFrame, columns: dict[str, Any]) -> list[str]:
    """Return the names of the rows: a column `id`, which must not repeat, or their place in the file."""
    if "id" not in columns:
        return [f"row {i + 2}" for i in range(len(frame))]
    names: list[str] = frame[columns["id"]].tolist()
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{path} has two rows with the id {twice!r}")
    return names


def read_fasta(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, sequence) of each record.

    Raises:
        DataError: there is no record, an empty one, two of one name, or text before the first.
    """
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    seen: set[str] = set()
    with open_text(path) as file:
        head = file.read(1)
        if not head:
            raise DataError(f"{path} is empty")
        if head != ">":
            raise DataError(f"{path} is no FASTA: it begins with {head!r}, not >")
        file.seek(0)
        for title, sequence in SimpleFastaParser(file):  # type: ignore[no-untyped-call]
            name = title.split(None, 1)[0] if title.strip() else ""
            if name in seen:
                raise DataError(f"{path} has two records named {name!r}")
            if not sequence:
                raise DataError(f"{path}: record {name!r} has no letters")
            seen.add(name)
            yield name, sequence
