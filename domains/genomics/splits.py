"""Labelled sequences as train, dev and test: from a folder of three tables, or one file that is split here."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit

from titans_seq.domains.genomics.alphabet import Rows
from titans_seq.domains.genomics.cuts import Cuts
from titans_seq.domains.genomics.encoder import encode_sequences
from titans_seq.domains.genomics.fitting import check_lengths
from titans_seq.domains.genomics.labelled import read_labelled
from titans_seq.domains.genomics.labels import check_labels
from titans_seq.domains.genomics.leaks import LeakReport, find_leaks
from titans_seq.domains.genomics.near import near_groups
from titans_seq.domains.genomics.records import LabelledSequences
from titans_seq.errors import DataError, TitansSeqWarning

EMBEDDED = Path(__file__).with_name("NC_000932.gb.gz")
"""Chloroplast genome of Arabidopsis thaliana with its features (public sequence, see NC_000932.txt)."""

LARGEST_GROUP = 0.1
"""Share of all sequences that a group of near duplicates has at the most; a larger one is a chain of neighbours."""
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Split:
    """Sequences of one split."""

    rows: Rows
    """Codes of each sequence."""
    labels: NDArray[np.str_]
    """Classes (N,)."""
    names: list[str]
    """Name of each sequence, or of its row in the file."""

    def take(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> "Split":
        """Return some of the sequences, chosen by a mask or by indices."""
        index = np.arange(len(self.rows))[keep]
        return Split([self.rows[i] for i in index], self.labels[index], [self.names[i] for i in index])

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Splits:
    """Sequences in three parts, and what leaked between them."""

    train: Split
    """What trains."""
    dev: Split
    """What decides when to stop."""
    test: Split
    """What is only scored."""
    leaks: LeakReport
    """What the parts shared before sequences were left out."""
    removed: int
    """Sequences of train that were left out, known from dev or test."""


def load_splits(
    path: Path, seed: int, test_fraction: float, cuts: Cuts | None = None, test_contigs: Sequence[str] = ()
) -> Splits:
    """Read a folder (train, dev and test tables; dev may be missing) or one file, and keep the splits apart.

    Sequences of train that stand in dev or test, on either strand, are left out with a warning. Where the split is
    made here, those that overlap with dev or test by half go too, and neighbours on a genome stay together.

    Args:
        seed: seed of the split, below 2**32.
        test_fraction: share of a file that becomes test; a tenth becomes dev.
        cuts: how windows are cut from a genome.
        test_contigs: contigs that become test; none: a share of all.

    Raises:
        DataError: files are missing or cannot be used, or there are too few sequences of a class to split.
    """
    if path.is_dir():
        if test_contigs or (cuts and cuts.genome):
            raise DataError(f"{path} is a folder of tables: it has no contigs, and no genome")
        parts, is_own_split = _read_folder(path, seed), False
    else:
        parts, is_own_split = _split_file(path, seed, test_fraction, cuts, test_contigs), True
    leaks = find_leaks({name: (part.rows, part.labels) for name, part in parts.items()})
    is_known = leaks.is_duplicate["train"] | (leaks.is_overlapping["train"] if is_own_split else False)
    if is_known.any():
        what = "stand in dev or test, or overlap with them" if is_own_split else "stand in dev or test"
        _warn(f"{int(is_known.sum())} of {len(is_known)} training sequences {what}: they are left out")
    train = parts["train"].take(~is_known)
    classes = set(train.labels.tolist())
    if len(classes) < 2:
        raise DataError(f"{path}: at least 2 classes are needed to train, there is one class only: {classes}")
    for name in ("dev", "test"):
        unknown = sorted(set(parts[name].labels.tolist()) - classes)
        if unknown:
            raise DataError(f"{path}: {name} has classes that train has not: {', '.join(unknown)}")
    return Splits(train, parts["dev"], parts["test"], leaks, int(is_known.sum()))


def _read_folder(folder: Path, seed: int) -> dict[str, Split]:
    parts = {}
    for name in SPLITS:
        files = sorted(p for p in folder.iterdir() if p.is_file() and p.name.split(".")[0].lower() == name)
        if len(files) > 1:
            raise DataError(f"{folder} has several files for {name}: {', '.join(p.name for p in files)}")
        if files:
            parts[name] = _encode(read_labelled(files[0]))
    missing = [name for name in ("train", "test") if name not in parts]
    if missing:
        raise DataError(f"{folder} needs train and test tables (and dev, if there is one): {missing[0]} is missing")
    if "dev" not in parts:
        _warn("there is no dev table: a tenth of train decides when to stop")
        whole = parts["train"]
        train, dev = _split_indices(whole.labels, np.arange(len(whole)), 0.1, seed)
        parts |= {"train": whole.take(train), "dev": whole.take(dev)}
    return {name: parts[name] for name in SPLITS}


def _split_file(
    path: Path, seed: int, test_fraction: float, cuts: Cuts | None, test_contigs: Sequence[str]
) -> dict[str, Split]:
    records = read_labelled(path, cuts, seed)
    whole = _encode(records)
    if is_sorted_by_class(records.labels) and not records.contigs:
        _warn(f"the rows of {path.name} stand sorted by class: they are shuffled before they are split")
    groups = _groups(records, whole.rows)
    if test_contigs:
        rest, test = _by_contig(records.contigs, test_contigs, path)
    else:
        rest, test = _split_indices(whole.labels, groups, test_fraction, seed)
    train, dev = _split_indices(whole.labels[rest], groups[rest], 0.1 * len(whole) / len(rest), seed)
    return {"train": whole.take(rest[train]), "dev": whole.take(rest[dev]), "test": whole.take(test)}


def _groups(records: LabelledSequences, rows: Rows) -> NDArray[np.int64]:
    """Return the number of what must not be torn apart, for each sequence (N,): stretches of a genome, or, where
    sequences come from a table, near duplicates."""
    _, groups = np.unique(np.array(records.groups), return_inverse=True)
    if records.contigs or len(np.unique(groups)) < len(groups):
        return groups
    near = near_groups(rows)
    if np.bincount(near).max() > LARGEST_GROUP * len(near):
        _warn("most sequences overlap with others, one after the other: neighbours may be split, and leave train then")
        return groups
    return near


def _by_contig(
    contigs: Sequence[str], wanted: Sequence[str], path: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the sequences that lie on other contigs than those, and of those that lie on them."""
    unknown = sorted(set(wanted) - set(contigs))
    if unknown:
        known = ", ".join(sorted(set(contigs))[:10]) or "none"
        raise DataError(f"{path} has nothing on the contigs {', '.join(unknown)} that should be test; it has {known}")
    is_test = np.isin(np.array(contigs), list(wanted))
    if is_test.all():
        raise DataError(f"{path} has nothing but the contigs that should be test")
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def is_sorted_by_class(labels: Iterable[str]) -> bool:
    """Return whether all sequences of a class stand together, and there are more than two sequences."""
    found = list(labels)
    changes = sum(a != b for a, b in pairwise(found))
    return len(found) > 2 and changes == len(set(found)) - 1 > 0


def _encode(records: LabelledSequences) -> Split:
    rows = encode_sequences(records.sequences)
    check_lengths(rows)
    return Split(rows, check_labels(np.array(records.labels).astype(str), len(rows)), records.names)


def _split_indices(
    labels: NDArray[np.str_], groups: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return two sets of indices in random order, the second of about that share, classes alike, groups whole."""
    counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    if len(counts) < 2:
        raise DataError(f"at least 2 classes are needed, there is one class only: {str(labels[0])!r}")
    rarest = min(counts, key=lambda c: int(counts[c]))
    folds = max(2, round(1 / fraction))
    if counts[rarest] < folds:
        raise DataError(
            f"class {str(rarest)!r} has {counts[rarest]} sequences, at least {folds} are needed to split them"
        )
    if len(np.unique(groups)) == len(groups):
        first, second = next(StratifiedShuffleSplit(1, test_size=fraction, random_state=seed).split(labels, labels))
        return first, second
    if len(np.unique(groups)) < folds:
        raise DataError(f"there are {len(np.unique(groups))} stretches of sequence, at least {folds} are needed")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    first, second = next(splitter.split(labels, labels, groups))
    return first, second


def _warn(message: str) -> None:
    warnings.warn(message, TitansSeqWarning, stacklevel=3)
