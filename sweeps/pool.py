"""Worker processes of one machine, started again when something kills them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from titans_seq.errors import SweepError, TitansSeqWarning, reason
from titans_seq.sweeps.reconcile import worker_name

PATIENCE = 60.0
"""Seconds that workers are given to end after they were told to."""
INTERRUPTED = 130
"""Exit code of a worker that was told to end."""
RESTARTS = 10
"""Times that each worker may be killed."""


@contextmanager
def hand_over(search: Any) -> Iterator[tuple[list[str], Path | None]]:
    """Yield what to run as a worker, and what to give it as standard input.

    Args:
        search: objects of this process, which its workers need; None: they read all they need from the storage.

    Raises:
        SweepError: an object cannot be handed over.
    """
    if search is None:
        yield ["titans_seq.cli", "sweep", "worker"], None
        return
    import cloudpickle

    try:
        parcel = cloudpickle.dumps(sys.path) + cloudpickle.dumps(search)
    except Exception as error:
        raise SweepError(f"with workers, all objects must go to other processes: {reason(error)}") from error
    with tempfile.TemporaryDirectory() as folder:  # readable by this user alone, and gone when the sweep is
        path = Path(folder) / "search"
        path.write_bytes(parcel)
        yield ["titans_seq.sweeps.handed"], path


class WorkerPool:
    """Processes of one command line, each with a log of its own.

    Args:
        command: behind `python -m`.
        logs: folder of the logs; those of an earlier pool are replaced.
        parcel: file that each process is given as standard input.
        warned: warnings that were shown already.
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        logs: Path,
        size: int,
        parcel: Path | None = None,
        warned: set[str] | None = None,
    ) -> None:
        self.command, self.parcel = [sys.executable, "-P", "-m", *command], parcel
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.environment = {"OMP_NUM_THREADS": str(max(1, cores // size))} | dict(os.environ) | environment
        self.logs, self.size, self.restarts = logs, size, RESTARTS * size
        self.processes: list[subprocess.Popen[bytes]] = []
        self.names: set[str] = set()
        """Names of the processes in their trials, also of those that were replaced."""
        self.warned: set[str] = warned or set()
        """Warnings that were shown, those of workers among them."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run all processes; none is left behind, whatever happens."""
        self.logs.mkdir(parents=True, exist_ok=True)
        for log in self.logs.glob("worker-*.log"):
            log.unlink()
        try:
            for number in range(self.size):
                self.processes.append(self._start(number))
            yield
        finally:
            self._stop()

    def is_working(self) -> bool:
        """Return whether any process still works; start again what was killed.

        Raises:
            SweepError: a worker gave up, with its reason; or too many were killed.
        """
        for number, process in enumerate(self.processes):
            self._pass_warnings_on(number)
            code = process.poll()
            if code in (None, 0):
                continue
            if (code not in range(-64, 0) and code != INTERRUPTED) or not self.restarts:
                raise SweepError(self._last_words(number) or f"worker {number} ended with exit code {code}")
            self.restarts -= 1
            how = "interrupted" if code == INTERRUPTED else f"killed by signal {-code}"
            warnings.warn(f"worker {number} was {how}: another one takes its place", TitansSeqWarning, stacklevel=2)
            self.processes[number] = self._start(number)
        return any(p.poll() is None for p in self.processes)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        with self._log(number).open("ab") as log, Path(self.parcel or os.devnull).open("rb") as given:
            process = subprocess.Popen(
                self.command, stdin=given, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )
        self.names.add(worker_name(process.pid))
        return process

    def _log(self, number: int) -> Path:
        return self.logs / f"worker-{number}.log"

    def _lines(self, number: int) -> list[str]:
        return self._log(number).read_text(encoding="utf-8", errors="replace").splitlines()

    def _last_words(self, number: int) -> str:
        """Return the last line of a log, or its last error if there is one."""
        lines = self._lines(number)
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or [""])[-1].removeprefix("error: ")

    def _pass_warnings_on(self, number: int) -> None:
        """Repeat the warnings of a worker, each once."""
        for line in self._lines(number):
            said = line.removeprefix("warning: ")
            if said != line and said not in self.warned:
                self.warned.add(said)
                warnings.warn(said, TitansSeqWarning, stacklevel=2)

    def _stop(self) -> None:
        """Tell all to end; kill those that do not."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
