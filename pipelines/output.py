"""What commands have in common on their way out: the output folder and tables on the terminal."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import DownloadColumn, Progress, track
from rich.table import Table

from titans_seq.errors import DataError
from titans_seq.files import write_json

T = TypeVar("T")


def claim_folder(folder: Path, files: Collection[str], force: bool) -> None:
    """Make sure that results can be written, before any work is done.

    Raises:
        DataError: earlier results stand there and `force` is off, or the folder cannot be written.
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
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}") from error


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


@contextmanager
def byte_progress(path: Path, label: str, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error over the bytes of a file; what it gives is called with the bytes read so far."""
    columns = (*Progress.get_default_columns(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as bar:
        task = bar.add_task(label, total=path.stat().st_size)
        yield lambda read: bar.update(task, completed=read)


def progress(items: Sequence[T], label: str, shown: bool) -> Iterator[T]:
    """The items, with a bar on standard error while they are worked on."""
    yield from track(items, label, console=Console(stderr=True), disable=not shown, transient=True)


def claim_results(options: Any, *sizes: str) -> None:
    """Check a benchmark's options before it runs: the named sizes at least 1, and `output` writable or None."""
    for name in sizes:
        if getattr(options, name) < 1:
            raise DataError(f"{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    if options.output is not None:
        claim_folder(options.output, (), force=True)


def write_result(folder: Path | None, name: str, result: dict[str, Any]) -> None:
    """A benchmark's result as NAME-DATE.json, if a folder is given."""
    if folder is not None:
        write_json(folder / f"{name}-{result['date']}.json", result)


def score_table(title: str, rows: Mapping[str, Mapping[str, float]], note: str, highest: bool = False) -> None:
    """Models and their scores on standard output, the best of each column in bold: the lowest, or the highest."""
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
    console.print(note, highlight=False)


def plain_table(title: str, rows: Mapping[str, Mapping[str, str]]) -> None:
    """Named rows of ready-made cells on standard output."""
    table = Table(title=escape(title), title_justify="left")
    table.add_column("")
    for name in next(iter(rows.values())):
        table.add_column(escape(name), justify="right")
    for label, cells in rows.items():
        table.add_row(escape(label), *map(escape, cells.values()))
    Console().print(table)
