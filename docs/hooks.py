"""Tables of the manual that are made from the code while the site is built."""

import inspect
from typing import Any

MARK = "<!-- parameters -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the table of parameters where its mark stands."""
    return markdown.replace(MARK, parameter_table()) if MARK in markdown else markdown


def parameter_table() -> str:
    """Return a table of every parameter of every estimator: what it is, and each default."""
    from titans_seq.domains.registry import DOMAINS

    estimators = {domain.name: domain.load_estimator() for domain in DOMAINS.values()}
    defaults = {name: inspect.signature(kind).parameters for name, kind in estimators.items()}
    docs: dict[str, str] = {}
    for kind in estimators.values():
        for name, text in kind.parameter_docs.items():
            docs.setdefault(name, text)
    lines = [f"| parameter | {' | '.join(defaults)} | what it is |", "|---" * (len(defaults) + 2) + "|"]
    for name, text in docs.items():
        cells = [f"`{own[name].default!r}`" if name in own else "" for own in defaults.values()]
        said = " ".join(text.split()).replace("|", "\\|")
        lines.append(f"| `{name}` | {' | '.join(cells)} | {said} |")
    return "\n".join(lines)
