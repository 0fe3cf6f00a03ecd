"""MLflow's own servers as real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Server:
    """A server that answers at an address."""

    uri: str
    process: subprocess.Popen

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def post(self, path, body, kind="application/json"):
        """Status and answer of a request."""
        return self._answer(urllib.request.Request(self.uri + path, body.encode(), {"Content-Type": kind}))

    def get(self, path):
        """Status and answer of a request."""
        return self._answer(urllib.request.Request(self.uri + path))

    def _answer(self, request):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@contextmanager
def mlflow(*arguments, folder, **environment):
    """`mlflow ARGUMENTS` at a free port, ready; killed at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ours = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # where uvicorn is
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # it would take half of the start
        "OMP_NUM_THREADS": "1",
    }
    log = Path(folder) / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", port],
            stdout=file, stderr=file, cwd=folder, start_new_session=True,
            env=os.environ | ours | environment,
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        _wait_for(server, log)
        yield server
    finally:
        server.kill()


def tracking(store, folder):
    """`mlflow server` on a store."""
    artifacts = ("--artifacts-destination", str(Path(folder) / "artifacts"))
    return mlflow("server", "--workers", "1", "--backend-store-uri", store, *artifacts, folder=folder)


def _wait_for(server, log):
    for _ in range(600):
        try:
            with urllib.request.urlopen(server.uri + "/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
        if server.process.poll() is not None:
            break
    pytest.fail(f"the server did not start: {log.read_text()}")
