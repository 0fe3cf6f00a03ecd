"""A model behind MLflow's own server, for those who measure it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def served(uri: str, store: str, folder: Path) -> Iterator[tuple[str, Any]]:
    """Serve a model by MLflow's own server; yield the address for questions, and the process."""
    import psutil

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    command = [shutil.which("mlflow", path=str(Path(sys.executable).parent)) or "mlflow", "models", "serve", "-m", uri]
    ours = {"MLFLOW_TRACKING_URI": store, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    ours["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # where uvicorn is
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", port],
            stdout=log, stderr=log, start_new_session=True,
            env=os.environ | ours | {"PYTHONPATH": paths},
        )  # fmt: skip
    process = psutil.Process(server.pid)
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations", process
    finally:
        for child in [*process.children(recursive=True), process]:
            child.kill()
        server.wait()
