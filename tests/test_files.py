"""Files that are written at once or not at all, and what killed processes leave."""

import datetime
import hashlib
import json

import numpy as np
import pytest
from filelock import FileLock

from titans_seq.errors import DataError
from titans_seq.files import (
    FRESH,
    LOCK,
    OLD,
    digest,
    mend,
    replace_folder,
    to_json,
    write_atomically,
    write_json,
    write_text,
)


def test_json_is_utf8_indented_and_has_no_numbers_that_are_none(tmp_path):
    values = {"é": [np.float64("nan"), np.int64(2), float("inf")], 3: (datetime.date(2024, 1, 2), "x")}
    write_json(tmp_path / "a.json", values)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"é": [None, 2, None], "3": ["2024-01-02", "x"]}
    assert text == to_json(values, indent=2) + "\n"
    assert text.splitlines()[1].startswith('  "')
    assert to_json({"a": [1]}) == '{"a": [1]}'
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644
    write_text(tmp_path / "b.txt", "zażółć")
    assert (tmp_path / "b.txt").read_bytes() == "zażółć".encode()


def test_nothing_changes_where_writing_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with write_atomically(path) as temporary:
            assert temporary.suffix == ".txt"
            temporary.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_digests(tmp_path):
    content = {"a": b"1", "b/c": b"22", "d": b"333"}
    for name, data in content.items():
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / name).write_bytes(data)
    assert digest(tmp_path / "all" / "a") == hashlib.sha256(b"1").hexdigest()
    expected = hashlib.sha256()
    for data in content.values():  # in the order of the paths
        expected = hashlib.sha256(expected.digest() + hashlib.sha256(data).digest())
    assert digest(tmp_path / "all") == expected.hexdigest()
    with pytest.raises(DataError, match=r"^cannot read .*none: No such file or directory$"):
        digest(tmp_path / "none")


@pytest.fixture
def left(tmp_path):
    """What a process leaves that is killed while it replaces the folder `model`."""
    folder = tmp_path / ".model-abcdefgh.tmp"
    for name in (FRESH, OLD):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text(name)
    return folder


def content(tmp_path):
    return (tmp_path / "model" / "file").read_text()


def test_the_new_folder_is_put_in_place_if_it_was_whole(left, tmp_path):
    mend(tmp_path / "model")
    assert content(tmp_path) == FRESH
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_else_the_old_one(left, tmp_path):
    (left / FRESH / "file").unlink()
    (left / FRESH).rmdir()
    mend(tmp_path / "model")
    assert content(tmp_path) == OLD
    assert not left.exists()


def test_a_folder_that_stands_stays(left, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "file").write_text("standing")
    mend(tmp_path / "model")
    assert content(tmp_path) == "standing"
    assert not left.exists()


def test_a_folder_that_was_never_whole_is_not_put_in_place(left, tmp_path):
    """The old one had not been moved yet: where none was, none is."""
    (left / OLD / "file").unlink()
    (left / OLD).rmdir()
    mend(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_what_is_at_work_or_of_another_name_is_left_alone(left, tmp_path):
    """And does not keep others from being removed, in whatever order they are found."""
    others = [tmp_path / name for name in (".model-2-abcdefgh.tmp", ".model-abc.tmp", ".models-abcdefgh.tmp")]
    gone = [tmp_path / f".model-{letter * 8}.tmp" for letter in "az"]
    for path in (*others, *gone):
        path.mkdir()
    with FileLock(left / LOCK):
        mend(tmp_path / "model")
        assert set(tmp_path.iterdir()) == {left, *others}
        with replace_folder(tmp_path / "model") as fresh:
            (fresh / "file").write_text("beside it")
        assert content(tmp_path) == "beside it"
    mend(tmp_path / "model")
    assert set(tmp_path.iterdir()) == {tmp_path / "model", *others}


def test_what_cannot_be_mended_is_no_error(left, tmp_path):
    (left / LOCK).mkdir()  # no lock can be had there
    mend(tmp_path / "model")
    assert left.exists()
