"""Settings as a user writes them on the command line: NAME=VALUE."""

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from titans_seq.errors import DataError


def parse_value(text: str) -> Any:
    """Return a parameter's value: a number, true, false, None, a tuple, or a word (such as the variant "none")."""
    text = text.strip()
    if text.startswith(("(", "[")):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found = None
        if not isinstance(found, tuple | list):
            raise DataError(f"a tuple reads (0.1, 0.5, 0.9), not {text!r:.80}")
        return tuple(found)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text == "None":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of texts NAME=VALUE.

    Raises:
        DataError: a text reads otherwise, or a name stands there twice.
    """
    parameters: dict[str, Any] = {}
    for name, given in split_pairs(settings, "a setting reads NAME=VALUE"):
        if name in parameters:
            raise DataError(f"{name} is set twice")
        parameters[name] = parse_value(given)
    return parameters


def split_pairs(texts: Sequence[str], form: str) -> Iterator[tuple[str, str]]:
    """Yield names and what stands behind their `=`; raise DataError with the form that is right where there is none."""
    for text in texts:
        name, said, given = (part.strip() for part in text.partition("="))
        if not name or not said or not given:
            raise DataError(f"{form}, not {text!r}")
        yield name, given
