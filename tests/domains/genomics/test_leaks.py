"""Sequences that two splits share, and files that are split here."""

import gzip
import warnings

import numpy as np
import pytest

from titans_seq.domains.genomics.cuts import Cuts
from titans_seq.domains.genomics.encoder import encode_sequences
from titans_seq.domains.genomics.leaks import find_leaks
from titans_seq.domains.genomics.splits import EMBEDDED, is_sorted_by_class, load_splits
from titans_seq.errors import DataError, TitansSeqWarning

RNG = np.random.default_rng(0)


def random(count, length=60):
    return ["".join(RNG.choice(list("ACGT"), length)) for _ in range(count)]


def reverse_complement(sequence):
    return sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def part(sequences, labels=None):
    return encode_sequences(sequences), np.array(labels if labels else ["a"] * len(sequences))


def test_what_is_found():
    a, b, c, d, e = random(5)
    moved = b[10:] + random(1, 10)[0]
    train = [a, b.lower(), c, d, a]
    report = find_leaks(
        {
            "train": part(train),
            "test": part([a, reverse_complement(c), reverse_complement(moved), e], ["a", "b", "a", "a"]),
        }
    )
    assert report.sizes == {"train": 5, "test": 4}
    assert report.exact == {"test in train": 1}
    assert report.reverse_complement == {"test in train": 1}
    assert report.overlapping == {"test in train": 1}
    assert report.repeated == {"train": 1, "test": 0}
    assert report.conflicting == 1
    assert report.is_duplicate["train"].tolist() == [True, False, True, False, True]
    assert report.is_overlapping["train"].tolist() == [False, True, False, False, False]
    assert not report.is_duplicate["test"].any()


def test_short_sequences_and_unknown_letters_do_not_overlap():
    report = find_leaks({"train": part(["ACGT", "N" * 50]), "test": part(["ACGA", "N" * 40])})
    assert report.overlapping == {"test in train": 0}


@pytest.mark.slow
def test_published_leaks_are_found(real_data):
    """The figures that others have counted: 43 of 5,920 and 6 of 613."""
    from titans_seq.domains.genomics.splits import _read_folder

    for folder, expected in (("gue_prom_core_all", 43), ("gue_prom_300_tata", 6)):
        parts = _read_folder(real_data / "genomics" / folder, 0)
        report = find_leaks({name: (p.rows[:], p.labels) for name, p in parts.items()})
        assert report.exact["test in train"] == expected


def write(path, sequences, labels, names=None):
    rows = [f"{n},{s},{y}" for n, s, y in zip(names or range(len(labels)), sequences, labels, strict=True)]
    path.write_text("\n".join(["id,sequence,label", *rows]) + "\n")
    return path


def options(path, **changes):
    return load_splits(path, 0, changes.pop("test_fraction", 0.2), Cuts(**changes))


def test_a_file_is_split_by_class_and_what_is_the_same_stays_together(tmp_path):
    sequences, labels = random(60), ["x", "y"] * 30
    sequences += [reverse_complement(s) for s in sequences[:30]]
    labels += labels[:30]
    splits = options(write(tmp_path / "a.csv", sequences, labels))
    assert 14 <= len(splits.test) <= 22
    assert abs((splits.test.labels == "x").mean() - 0.5) < 0.1
    assert splits.removed == 0
    assert len(splits.train) + len(splits.dev) + len(splits.test) == 90
    left = find_leaks({n: (p.rows, p.labels) for n, p in (("train", splits.train), ("test", splits.test))})
    assert left.exact == left.reverse_complement == left.overlapping == {"test in train": 0}


def test_sorted_classes_are_shuffled_with_a_word(tmp_path):
    with pytest.warns(TitansSeqWarning, match=r"a\.csv stand sorted by class: they are shuffled"):
        splits = options(write(tmp_path / "a.csv", random(60), ["x"] * 30 + ["y"] * 30))
    assert set(splits.test.labels) == set(splits.dev.labels) == {"x", "y"}
    assert not is_sorted_by_class(splits.train.labels)
    assert not is_sorted_by_class(["a", "b"])
    assert not is_sorted_by_class(["a"] * 5)


def test_a_folder_keeps_its_splits(tmp_path):
    a, b, c = random(20), random(10), random(10)
    write(tmp_path / "train.csv", a, ["x", "y"] * 10)
    write(tmp_path / "test.csv", [*c[:-1], a[0]], ["x", "y"] * 5)
    with pytest.warns(TitansSeqWarning, match=r"no dev table|1 of 18 training|1 of 19 training"):
        splits = options(tmp_path)
    assert len(splits.test) == 10
    write(tmp_path / "dev.csv", b, ["x", "y"] * 5)
    with pytest.warns(TitansSeqWarning, match="1 of 20 training sequences stand in dev or test: they are left out"):
        splits = options(tmp_path)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (19, 10, 10)


def test_the_embedded_genome_keeps_neighbours_together():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TitansSeqWarning)
        splits = options(EMBEDDED)
    assert 0.3 < (splits.test.labels == "CDS").mean() < 0.8
    left = find_leaks({n: (p.rows, p.labels) for n, p in (("train", splits.train), ("test", splits.test))})
    assert left.overlapping == left.exact == left.reverse_complement == {"test in train": 0}, (
        "inverted repeats included"
    )
    assert len(splits.train) > 500


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["x"] * 30, "one class only: 'x'"),
        (["x"] * 29 + ["y"], "class 'y' has 1 sequences, at least 5 are needed"),
    ],
)
def test_files_that_cannot_be_split(tmp_path, labels, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TitansSeqWarning)
        with pytest.raises(DataError, match=message):
            options(write(tmp_path / "a.csv", random(30), labels))


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="train is missing"):
        options(tmp_path)
    write(tmp_path / "train.csv", random(20), ["x", "y"] * 10)
    with pytest.raises(DataError, match="test is missing"):
        options(tmp_path)
    write(tmp_path / "test.csv", random(2), ["x", "z"])
    write(tmp_path / "dev.csv", random(2), ["x", "y"])
    with pytest.raises(DataError, match="test has classes that train has not: z"):
        options(tmp_path)
    (tmp_path / "dev.csv.gz").write_bytes(gzip.compress(b"sequence,label\nA,x\n"))
    with pytest.raises(DataError, match=r"several files for dev: dev\.csv, dev\.csv\.gz"):
        options(tmp_path)


def test_two_rows_of_one_id(tmp_path):
    with pytest.raises(DataError, match="two rows with the id '7'"):
        options(write(tmp_path / "a.csv", random(4), ["x", "y"] * 2, ["7", "8", "7", "9"]))
