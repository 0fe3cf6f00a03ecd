"""Folders that results go to: free, with room, and for one process at a time."""

import os
import subprocess
import sys

import pytest

from titans_seq.errors import DataError
from titans_seq.pipelines import output
from titans_seq.pipelines.output import claim_folder, hold_folder


def test_no_room_is_said_before_hours_of_work(tmp_path, monkeypatch):
    claim_folder(tmp_path, ("model",), force=False)
    monkeypatch.setattr(output, "LEAST_ROOM", 10**18)
    with pytest.raises(DataError, match=r"^\d+ MB are free where .* is, at least 1000000000000 are needed$"):
        claim_folder(tmp_path, ("model",), force=False)


def test_a_full_disk(tmp_path):
    """A real one of a megabyte."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(DataError, match=r"^1 MB are free where .* is, at least 100 are needed$"):
            claim_folder(tmp_path / "out", ("model",), force=False)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_one_process_at_a_time(tmp_path):
    with hold_folder(tmp_path), pytest.raises(DataError, match="another process writes to"), hold_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    with hold_folder(tmp_path):
        pass


@pytest.mark.slow
def test_the_second_of_two_commands_is_told(tmp_path):
    """And the folder is free again when the first one was killed."""
    command = [sys.executable, "-m", "titans_seq.cli", "lm", "--tracking-uri", "off", "--output", "out", "--force"]
    run = {"cwd": tmp_path, "stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    first = subprocess.Popen(command, **run, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        while not (tmp_path / "out" / ".lock").exists():
            assert first.poll() is None, first.communicate()
        second = subprocess.run(command, **run)
        assert second.returncode == 2
        assert second.stderr.splitlines() == [
            "error: another process writes to out: choose another --output, or wait for it"
        ]
    finally:
        first.kill()
        first.communicate()
    with hold_folder(tmp_path / "out"):
        pass
