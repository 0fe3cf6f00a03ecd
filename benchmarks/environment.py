"""When, on what and with which code a measurement was made."""

import datetime
import platform
import subprocess
from pathlib import Path
from typing import Any

from titans_seq.version import __version__


def describe() -> dict[str, Any]:
    """Return date, versions, commit and hardware, as plain values."""
    import torch

    from titans_seq.kernel import kernel_ready

    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "kernel": kernel_ready(),
        "threads": torch.get_num_threads(),
        "hardware": _processor(),
    }


def _commit() -> str | None:
    """Return short commit of the checkout this code stands in, with `-dirty` if it differs; None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).resolve().parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.machine()
