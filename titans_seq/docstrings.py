"""Docstrings of attributes: read from the source, and written into the section Args of a class."""

import ast
import inspect
import textwrap
from collections.abc import Mapping


def attribute_docs(cls: type) -> dict[str, str]:
    """Return the string literal below each annotated attribute of a class and its bases, by name.

    Where the source is not at hand there are none.
    """
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__[:-1]):
        if not inspect.get_annotations(owner):
            continue
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        assert isinstance(tree, ast.ClassDef)
        for attribute, below in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(attribute, ast.AnnAssign)
                and isinstance(attribute.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[attribute.target.id] = inspect.cleandoc(below.value.value)
    return found


def insert_arguments(docstring: str, docs: Mapping[str, str]) -> str:
    """Return a class's docstring with a section Args before the section Attributes, or at its end."""
    text = inspect.cleandoc(docstring)
    lines = ["Args:"]
    for name, doc in docs.items():
        first, *others = (" ".join(paragraph.split()) for paragraph in doc.split("\n\n"))
        lines += textwrap.wrap(f"{name}: {first}", 120, initial_indent=" " * 4, subsequent_indent=" " * 8)
        for paragraph in others:
            lines += ["", *textwrap.wrap(paragraph, 120, initial_indent=" " * 8, subsequent_indent=" " * 8)]
    section = "\n".join(lines)
    head, mark, tail = text.partition("\nAttributes:\n")
    return f"{head.rstrip()}\n\n{section}\n" + (f"\n{mark.lstrip()}{tail}" if mark else "")
