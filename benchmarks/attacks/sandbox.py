"""One attack at a time, in a process of its own with little time and memory."""

import multiprocessing
import os
import resource
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from titans_seq.errors import TitansSeqError

SECONDS, BYTES = 10, 2**30
"""What an attack may take: time, and memory beyond what the process has."""
LONGEST = 600
"""Characters of a message that says what is wrong."""


@dataclass(frozen=True)
class Attempt:
    """Something that must be refused by a clear error, or answered soundly."""

    kind: str
    """What it stands for: a row of the table."""
    name: str
    """What is done."""
    action: Callable[[Path], str | None]
    """Does it in an empty folder; returns what went wrong, or None. A clear error is no wrong."""


def verdict(attempt: Attempt, seconds: float = SECONDS) -> str | None:
    """Return what an attack broke, or None if it was held off."""
    with tempfile.TemporaryDirectory() as scratch:
        return run_apart(lambda: judge(attempt, Path(scratch)), seconds, BYTES)


def judge(attempt: Attempt, folder: Path) -> str | None:
    """Return what an attack broke in this process, or None."""
    warnings.simplefilter("ignore")
    try:
        return attempt.action(folder)
    except TitansSeqError as error:
        text = str(error)
        return None if text and "\n" not in text and len(text) <= LONGEST else f"an unclear message: {text[:80]!r}"
    except MemoryError:
        return "memory"
    except Exception as error:
        if "can't allocate memory" in str(error):
            return "memory"
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"raw {type(error).__name__} at {Path(place.filename).name}:{place.lineno}"


def run_apart(function: Callable[[], str | None], seconds: float, extra: int) -> str | None:
    """Return what a function returns in a forked process, or how that ended.

    Args:
        extra: bytes of memory that it may take.
    """
    receiver, sender = multiprocessing.Pipe(False)
    process = multiprocessing.get_context("fork").Process(target=_limited, args=(function, sender, extra))
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            return "time"
        answer: str | None = receiver.recv()
    except EOFError:
        process.join()
        return f"ended by {process.exitcode}"
    finally:
        process.kill()
        process.join()
        receiver.close()
    return answer


def _limited(function: Callable[[], str | None], sender: Connection, extra: int) -> None:
    import torch

    torch.set_num_threads(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + extra
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    sender.send(function())
