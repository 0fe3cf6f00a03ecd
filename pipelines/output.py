"""Where commands write: output folders and files, and tables on the terminal."""

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from titans_seq.errors import DataError

LEAST_ROOM = 100_000_000
"""Bytes that must be free where results go: models are a few megabytes, and written beside the ones they replace."""


def claim_folder(folder: Path, files: Collection[str], force: bool) -> None:
    """Make sure that results can be written, before any work is done.

    Raises:
        DataError: earlier results stand there and `force` is off, the folder cannot be written, or there is no room.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file, a folder is needed")
    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        raise DataError(f"{folder} already holds {', '.join(there)}: choose another --output, or --force")
    if "model" in files and (folder / "model").exists():
        from titans_seq.saving import is_replaceable

        if not is_replaceable(folder / "model"):
            raise DataError(f"{folder / 'model'} is not a saved model: choose another --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}") from error
    if free < LEAST_ROOM:
        raise DataError(f"{free / 1e6:.0f} MB are free where {folder} is, at least {LEAST_ROOM / 1e6:.0f} are needed")


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep other processes of ours from writing results to a folder, until this one is done or dead.

    Raises:
        DataError: another one is at work there.
    """
    lock = FileLock(folder / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(f"another process writes to {folder}: choose another --output, or wait for it") from None
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: nobody can be waiting for it
        lock.release()


def claim_file(path: Path, force: bool, source: Path | None = None) -> None:
    """Make sure that a file can be written, before any work is done.

    Args:
        source: the file that is read; it is never overwritten.

    Raises:
        DataError: it exists and `force` is off, is a folder, or its folder cannot be written.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder, a file is needed")
    if source is not None and path.exists() and path.samefile(source):
        raise DataError(f"{path} is the file that is read: choose another")
    if path.exists() and not force:
        raise DataError(f"{path} exists: choose another file, or --force")
    if not path.parent.is_dir():
        raise DataError(f"there is no folder {path.parent}")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DataError(f"cannot write to {path.parent}: {error.strerror}") from error


def score_table(title: str, rows: Mapping[str, Mapping[str, float]], note: str, highest: bool = False) -> None:
    """Print models and their scores, the best of each column in bold: the lowest, or the highest."""
    console = Console()
    columns = [name for name in next(iter(rows.values())) if name != "seconds"]
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name in [*columns, "seconds"]:
        table.add_column(name, justify="right")
    best = {c: (max if highest else min)(values[c] for values in rows.values()) for c in columns}
    for model, values in rows.items():
        cells = [f"[bold]{values[c]:.4f}[/]" if values[c] == best[c] else f"{values[c]:.4f}" for c in columns]
        table.add_row(model, *cells, f"{values['seconds']:.1f}")
    console.print(table)
    winners = {c: next(model for model, values in rows.items() if values[c] == best[c]) for c in columns}
    if len(rows) > 1 and all(value == value for value in best.values()):
        console.print(
            f"best: {', '.join(f'{model} by {c}' for c, model in winners.items() if not c.endswith('_std'))}",
            highlight=False,
        )
    console.print(note, highlight=False)


def plain_table(title: str, rows: Mapping[str, Mapping[str, str]]) -> None:
    """Print named rows of ready-made cells."""
    table = Table(title=escape(title), title_justify="left")
    table.add_column("")
    for name in next(iter(rows.values())):
        table.add_column(escape(name), justify="right")
    for label, cells in rows.items():
        table.add_row(escape(label), *map(escape, cells.values()))
    Console().print(table)


def short_text(value: object) -> str:
    """Return a value for a cell: numbers with a point in 4 digits, all else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
