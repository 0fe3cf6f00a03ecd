"""A program of sub-commands: parsing, exit codes, and one line for what went wrong.

Exit codes: 0 success, 2 wrong input, 130 Ctrl-C or SIGTERM, which are one to all commands, 1 anything else.
"""

import contextlib
import io
import itertools
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import tyro

from titans_seq.errors import TitansSeqError, TitansSeqWarning
from titans_seq.files import to_json


def run_program(commands: Any, name: str, arguments: list[str]) -> int:
    """Run one command line and return its exit code.

    Args:
        commands: a union of dataclasses with a method `run`, for tyro; a command with sub-commands has the chosen one
            as `what`.
        name: name of the program.
    """
    return run_guarded(lambda: _run(commands, name, arguments))


def run_guarded(work: Callable[[], object]) -> int:
    """Do some work and return its exit code; warnings and errors become a line each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", TitansSeqWarning)
        warnings.showwarning = _print_warning
        with _terminate_as_ctrl_c():
            try:
                work()
            except (UsageError, TitansSeqError) as error:
                print("error: " + " ".join(str(error).split()), file=sys.stderr)
                return 2
            except KeyboardInterrupt:
                print("interrupted", file=sys.stderr)
                return 130
            except BrokenPipeError:
                return 1
            return 0


@contextlib.contextmanager
def _terminate_as_ctrl_c() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _run(commands: Any, name: str, arguments: list[str]) -> None:
    chosen = parse_arguments(commands, name, arguments)
    result = chosen.run()
    if result is not None and getattr(getattr(chosen, "what", chosen), "json", False):
        print(to_json(result))


class UsageError(Exception):
    """A command line that cannot be parsed."""


def parse_arguments(commands: Any, name: str, arguments: list[str]) -> Any:
    """Return the chosen command; what tyro draws as a box on wrong usage becomes one line."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(commands, prog=name, args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        lines = [line.strip("│╭╮╰╯ ") for line in box.getvalue().splitlines()][1:]  # below the title
        text = itertools.takewhile(_is_text, itertools.dropwhile(_is_rule, lines))
        message = re.sub(r"\s+", " ", " ".join(text)) or "wrong usage"
        raise UsageError(f"{message} (see {name} --help)") from None


def _is_rule(line: str) -> bool:
    return set(line) <= {"─", "-"}


def _is_text(line: str) -> bool:
    return not _is_rule(line)


def _print_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    print(f"warning: {message}", file=sys.stderr)
