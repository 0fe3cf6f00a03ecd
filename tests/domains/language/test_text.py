"""Texts from strings, pieces and files, and what is none."""

import pytest

from titans_seq.domains.language import text as module
from titans_seq.domains.language.text import embedded_text, pieces, read_text, sha256
from titans_seq.errors import DataError


def test_the_embedded_text_is_english_and_always_the_same():
    text = embedded_text()
    assert 300_000 < len(text) < 1_000_000
    assert "statement" in text
    assert sha256(text) == sha256(embedded_text())


def test_strings_pieces_and_files_are_the_same_text(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 3)
    said = "naïve café, 東京"
    path = tmp_path / "said.txt"
    path.write_text(said, encoding="utf-8")
    assert read_text(said) == read_text(path) == read_text(iter(said)) == said
    path.write_text(said, encoding="utf-8-sig")
    assert read_text(path) == said
    assert len(list(pieces(path))) > 3
    with path.open(encoding="utf-8-sig") as file:
        assert read_text(file) == said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PNG\x00\x01", "binary, not text: a zero byte at 3"),
        ("caf\xe9 noir".encode("latin-1"), "not UTF-8: byte 0xe9 at 3"),
        (b"abcd\xff", "not UTF-8: byte 0xff at 4"),
        ("né".encode()[:2], "not UTF-8: byte 0xc3 at 1"),
        ("wide".encode("utf-16"), "not UTF-8|binary"),
    ],
)
@pytest.mark.parametrize("size", [2, 2**16])
def test_files_that_are_no_text(tmp_path, monkeypatch, content, message, size):
    monkeypatch.setattr(module, "PIECE", size)
    path = tmp_path / "data"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_text(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "the text is empty"),
        ([], "the text is empty"),
        (["", ""], "the text is empty"),
        (b"bytes", "must be a str, a Path or str in pieces, not bytes"),
        (3, "not int"),
        ([1, 2], "made of str, not of int"),
    ],
)
def test_values_that_are_no_text(value, message):
    with pytest.raises(DataError, match=message):
        read_text(value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "missing")
    with pytest.raises(DataError, match="cannot read"):
        read_text(tmp_path)
