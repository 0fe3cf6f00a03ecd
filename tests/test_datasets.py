"""Data by name: found, downloaded and checked, or refused in one line."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from titans_seq.cli import execute
from titans_seq.datasets import Dataset, File, fetch, find, locate
from titans_seq.errors import DataError
from titans_seq.pipelines.data import collect_datasets

TEXT = b"sequence,label\nACGT,1\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A web server over a folder of two files, and a cache that is empty."""
    (tmp_path / "site").mkdir()
    for name in ("train.csv", "test.csv"):
        (tmp_path / "site" / name).write_bytes(TEXT)
    monkeypatch.setattr("titans_seq.datasets._cache", lambda: tmp_path / "cache")
    monkeypatch.delenv("TITANS_SEQ_DATA", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "site")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def dataset(url, text=TEXT, names=("train.csv", "test.csv")):
    digest = hashlib.sha256(text).hexdigest()
    return Dataset(files=tuple(File(f"dna/toy/{n}", digest, url and url + n) for n in names), licence="none")


def test_fetched_once_and_found_again(site, tmp_path):
    toy = dataset(site)
    assert locate(toy) is None
    folder = fetch("toy", {"toy": toy})
    assert folder == tmp_path / "cache" / "dna" / "toy"
    assert (folder / "test.csv").read_bytes() == TEXT
    assert locate(toy) == folder
    (folder / "test.csv").unlink()
    assert locate(toy) is None, "half a data set is none"


def test_another_file_than_expected_is_thrown_away(site, tmp_path):
    with pytest.raises(DataError, match="cannot download toy"):
        fetch("toy", {"toy": dataset(site, b"other")})
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_a_folder_of_the_users_comes_first(site, tmp_path, monkeypatch):
    toy = dataset(site, names=("train.csv",))
    fetch("toy", {"toy": toy})
    own = tmp_path / "own" / "dna" / "toy"
    own.mkdir(parents=True)
    (own / "train.csv").write_bytes(TEXT)
    monkeypatch.setenv("TITANS_SEQ_DATA", str(tmp_path / "own"))
    assert locate(toy) == own / "train.csv"


def test_no_address_and_no_such_name(site):
    with pytest.raises(DataError, match="put dna/toy below TITANS_SEQ_DATA"):
        fetch("toy", {"toy": dataset(None)})
    with pytest.raises(DataError, match="no data set named 'x'; there are toy"):
        find("x", {"toy": dataset(None)})


def test_every_domain_is_listed(site, capsys):
    import json

    assert execute(["data", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == collect_datasets().keys() >= {"ETTh1", "gue-core-promoter-all"}
    assert execute(["data", "path", "gue-core-promoter-all"]) == 2
    assert "has no address" in capsys.readouterr().err


def test_checksums_are_those_of_the_files(real_data):
    for name, known in collect_datasets().items():
        for file in known.files:
            path = real_data / file.path
            if path.exists():
                assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256, name
