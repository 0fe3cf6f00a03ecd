"""Progress on standard error: bars that vanish when they are done, or a line a minute where nobody sees a bar."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import DownloadColumn, Progress

T = TypeVar("T")

EVERY = 60.0
"""Seconds between two lines."""


def is_watched() -> bool:
    """Return whether standard error can show a bar: a terminal or a notebook, no file and no pipe."""
    console = Console(stderr=True)
    return console.is_terminal or console.is_jupyter


class Lines:
    """A line a minute on standard error."""

    def __init__(self) -> None:
        self.started = self.last = time.monotonic()

    def tell(self, text: Callable[[], str]) -> None:
        """Print a text with the time that has passed, if a minute went by since the last one, or the start."""
        now = time.monotonic()
        if now - self.last >= EVERY:
            self.last = now
            print(f"{text()}, after {show_time(now - self.started)}", file=sys.stderr, flush=True)


def show_time(seconds: float) -> str:
    """Return a time as 1:05 or 2:01:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show_progress(items: Sequence[T], label: str, shown: bool) -> Iterator[T]:
    """Yield the items, with a bar, or lines, while they are worked on."""
    if shown and not is_watched():
        lines = Lines()
        for count, item in enumerate(items, 1):
            yield item
            lines.tell(lambda count=count: f"{label}: {count:,} of {len(items):,}")  # type: ignore[misc]
        return
    with progress_bar(shown) as bar:
        yield from bar.track(items, description=label)


@contextmanager
def byte_progress(path: Path, label: str, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show how far a file is read; yield a function to call with the bytes read so far."""
    size = path.stat().st_size
    if shown and not is_watched():
        lines = Lines()
        yield lambda read: lines.tell(lambda: f"{label}: {100 * read / max(1, size):.0f} % of the file")
        return
    with progress_bar(shown, DownloadColumn()) as bar:
        task = bar.add_task(label, total=size)
        yield lambda read: bar.update(task, completed=read)


def progress_bar(shown: bool, *columns: Any) -> Progress:
    """Return a bar of rich, with further columns behind the usual ones."""
    usual = Progress.get_default_columns()
    return Progress(*usual, *columns, console=Console(stderr=True), disable=not shown, transient=True)
