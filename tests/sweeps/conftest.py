"""Small studies that real processes work on."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

import pytest

SMALL = ("dim=8", "layers=1", "heads=1", "patch=8", "steps_per_epoch=5", "context=48")
"""A forecaster that trains in a second."""


@pytest.fixture(scope="session")
def wave_file(waves, tmp_path_factory):
    """The waves as a CSV file."""
    path = tmp_path_factory.mktemp("waves") / "waves.csv"
    waves.to_csv(path)
    return path


@pytest.fixture
def place(tmp_path, monkeypatch, migrated_store):
    """An empty working directory with a migrated tracking database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TITANS_SEQ_STORAGE", raising=False)
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return tmp_path


def arguments(data, *more, epochs=2):
    """`sweep run` for a small forecaster."""
    settings = [*SMALL, f"max_epochs={epochs}"]
    return ["sweep", "run", "--domain", "timeseries", "--data", str(data), "--horizon", "8", "--set", *settings, *more]


def program(*options, place, **environment):
    """The program as a process of its own, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "titans_seq.cli", *options],
        cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip


def trials(url, study):
    """All trials of a study, as they stand in the storage; none if there is no such study yet."""
    import optuna

    from titans_seq.sweeps.storage import open_storage

    try:
        return optuna.load_study(study_name=study, storage=open_storage(url)).trials
    except KeyError:
        return []


def wait_for(what, seconds=120):
    """Until `what()` is true; returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.2)
    return pytest.fail("it did not happen in time")


def children(process):
    """Processes that a process has started."""
    import psutil

    return [] if process.poll() is not None else psutil.Process(process.pid).children()


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """The URL of a real PostgreSQL server."""
    with postgresql_server(tmp_path_factory.mktemp("postgresql")) as (url, _, _):
        yield url


@pytest.fixture
def restartable_postgresql(tmp_path_factory):
    """The URL of a real PostgreSQL server of its own, and functions that stop and start it."""
    with postgresql_server(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@contextmanager
def postgresql_server(folder):
    """A real server, as an ordinary user where the tests run as root: its URL, and what stops and starts it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [
        Path(p).parent for p in [shutil.which("initdb")] if p is not None
    ]
    if not found:
        pytest.skip("there is no PostgreSQL server on this machine")
    programs, data = found[-1], folder / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    other = []
    if os.getuid() == 0:
        folder.chmod(0o777)
        for parent in folder.parents[: len(folder.relative_to(gettempdir()).parts) - 1]:
            parent.chmod(0o755)
        other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    run = {"cwd": "/", "check": True, "capture_output": True}
    subprocess.run([*other, programs / "initdb", "-D", data, "-A", "trust", "-U", "tester", "-N"], **run)
    command = [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
    servers = []

    def start():
        with (folder / "log").open("a") as log:
            servers.append(subprocess.Popen([*other, *command], cwd="/", stdout=log, stderr=log))
        ready = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        wait_for(lambda: subprocess.run(ready, capture_output=True).returncode == 0, 30)

    def stop():
        servers[-1].send_signal(signal.SIGINT)  # at once, connections or not
        servers[-1].wait(30)

    start()
    try:
        yield f"postgresql://tester@127.0.0.1:{port}/postgres", stop, start
    finally:
        if servers[-1].poll() is None:
            stop()
