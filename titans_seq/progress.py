"""Progress bars on standard error, which vanish when they are done."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import DownloadColumn, Progress

T = TypeVar("T")


def show_progress(items: Sequence[T], label: str, shown: bool) -> Iterator[T]:
    """Yield the items, with a bar while they are worked on."""
    with progress_bar(shown) as bar:
        yield from bar.track(items, description=label)


@contextmanager
def byte_progress(path: Path, label: str, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar over the bytes of a file; yield a function to call with the bytes read so far."""
    with progress_bar(shown, DownloadColumn()) as bar:
        task = bar.add_task(label, total=path.stat().st_size)
        yield lambda read: bar.update(task, completed=read)


def progress_bar(shown: bool, *columns: Any) -> Progress:
    """Return a bar of rich, with further columns behind the usual ones."""
    usual = Progress.get_default_columns()
    return Progress(*usual, *columns, console=Console(stderr=True), disable=not shown, transient=True)
