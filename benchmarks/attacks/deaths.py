"""A process that is killed at every step of saving a model: one whole model stands there, and nothing else stays."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.attacks.models import use_model
from benchmarks.attacks.sandbox import Attempt

STEPS = 60
"""Operations on files that saving may take."""
EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "tempfile.mkdtemp", "tempfile.mkstemp")


def kills(saved: Path) -> Iterator[Attempt]:
    """Yield a SIGKILL before each operation on files of a save that replaces a model."""
    for folder in sorted(saved.iterdir()):
        if folder.name.endswith("lmm"):
            for step in range(STEPS):
                yield _kill(folder, step)


def _kill(folder: Path, step: int) -> Attempt:
    def action(scratch: Path) -> str | None:
        model = Path(shutil.copytree(folder, scratch / "model"))
        child = os.fork()
        if child == 0:
            saved = _load(model)
            _die_at(step)
            saved.save(model)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            return None if os.WEXITSTATUS(status) == 0 else "saving failed"
        if (wrong := use_model(model)) is not None:
            return wrong
        _load(model).save(model)
        left = sorted(p.name for p in scratch.iterdir() if p.name != "model" and not p.name.endswith(".lock"))
        return f"{left[0]} is left" if left else use_model(model)

    return Attempt("a kill while a model is replaced", f"{folder.name}: before operation {step + 1}", action)


def _load(folder: Path) -> Any:
    from titans_seq.domains.registry import load_predictor

    return load_predictor(folder).model  # type: ignore[attr-defined]


def _die_at(step: int) -> None:
    """Kill this process before the operation on files with this number."""
    count = 0

    def hook(event: str, arguments: Any) -> None:
        nonlocal count
        if event in EVENTS and (event != "open" or (isinstance(arguments[1], str) and "r" not in arguments[1])):
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

    sys.addaudithook(hook)
