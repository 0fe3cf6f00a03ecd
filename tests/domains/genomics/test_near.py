"""Near duplicates: found whatever the strand, not by chance, and kept together where a file is split."""

import numpy as np
import pytest

from titans_seq.domains.genomics.alphabet import decode, reverse_complement
from titans_seq.domains.genomics.leaks import find_leaks
from titans_seq.domains.genomics.near import NearIndex, near_groups
from titans_seq.domains.genomics.splits import load_splits
from titans_seq.errors import TitansSeqWarning

RNG = np.random.default_rng(0)


def random(count, size=200):
    return [RNG.integers(0, 4, size).astype(np.uint8) for _ in range(count)]


def changed(row, letters, seed=0):
    """The sequence with so many letters changed."""
    rng = np.random.default_rng(seed)
    places = rng.choice(len(row), letters, replace=False)
    other = row.copy()
    other[places] = (other[places] + rng.integers(1, 4, letters)) % 4
    return other


def test_what_differs_by_some_letters_is_found_on_either_strand():
    rows = random(300)
    index = NearIndex(rows)
    near = [changed(row, 6, i) for i, row in enumerate(rows[:100])]
    assert index.match(NearIndex(near))[0].mean() > 0.95
    assert index.match(NearIndex([reverse_complement(row) for row in near]))[0].mean() > 0.95
    assert not index.match(NearIndex(random(300)))[0].any()
    assert index.match(NearIndex([changed(row, 60, i) for i, row in enumerate(rows[:50])]))[0].mean() < 0.05
    assert not index.match(NearIndex([np.zeros(5, np.uint8), np.full(50, 4, np.uint8)]))[0].any()


def test_groups():
    one, two, three = random(3)
    rows = [one, two, changed(one, 2), three, reverse_complement(changed(one, 2))]
    groups = near_groups(rows)
    assert groups[0] == groups[2] == groups[4]
    assert len(set(groups.tolist())) == 3


def test_leaks_are_counted_and_leave_no_way_into_train(tmp_path):
    rows = random(60)
    rows += [changed(row, 6, i) for i, row in enumerate(rows[:30])]
    labels = ["x", "y"] * 30 + ["x", "y"] * 15
    names = np.array(labels)
    report = find_leaks({"train": (rows[30:], names[30:]), "test": (rows[:30], names[:30])})
    assert report.near["test in train"] + report.overlapping["test in train"] >= 28
    assert report.near["test in train"] > 0
    text = "\n".join(f"{decode(row)},{label}" for row, label in zip(rows, labels, strict=True))
    (tmp_path / "a.csv").write_text(f"sequence,label\n{text}\n")
    splits = load_splits(tmp_path / "a.csv", 0, 0.2)
    assert sum(splits.leaks.near.values()) == 0
    assert splits.removed == 0
    assert 12 <= len(splits.test) <= 24


def test_chains_of_neighbours_are_told(tmp_path):
    (long,) = random(1, 4000)
    rows = [long[s : s + 200] for s in range(0, 3800, 40)]
    text = "\n".join(f"{decode(row)},{'xy'[i % 2]}" for i, row in enumerate(rows))
    (tmp_path / "a.csv").write_text(f"sequence,label\n{text}\n")
    with pytest.warns(TitansSeqWarning, match="one after the other"), pytest.warns(TitansSeqWarning, match="left out"):
        load_splits(tmp_path / "a.csv", 0, 0.2)
