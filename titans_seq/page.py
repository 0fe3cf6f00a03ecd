"""HTML pages of text, tables and Plotly's figures; each is one file that needs nothing else, not even a network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from titans_seq.files import write_text


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a page; what is empty is left out. Text is shown as it is, never read as HTML."""

    title: str
    text: str = ""
    code: str = ""
    rows: Sequence[dict[str, str]] = field(default=())
    """Rows of a table, all with the same columns."""
    plot: Any = None
    """A figure of Plotly."""
    width: int = 0
    """Pixels that the figure needs at least; a narrower screen scrolls it."""


def write_html(path: Path, title: str, summary: str, best: str, sections: Sequence[Section]) -> Path:
    """Write a page at once or not at all, and return its path.

    Args:
        summary: what it is about, in a sentence.
        best: what came out, in bold.
    """
    from jinja2 import Environment
    from plotly.offline import get_plotlyjs

    template = files("titans_seq").joinpath("page.html.j2").read_text(encoding="utf-8")
    shown = [
        {
            "title": section.title,
            "text": section.text,
            "code": section.code,
            "rows": list(section.rows),
            "figure": "" if section.plot is None else _embed(section.plot),
            "width": section.width,
        }
        for section in sections
    ]
    script = get_plotlyjs() if any(section.plot is not None for section in sections) else ""
    page = Environment(autoescape=True).from_string(template)
    write_text(path, page.render(title=title, summary=summary, best=best, sections=shown, script=script))
    return path


def _embed(figure: Any) -> str:
    """Return a figure as HTML that finds Plotly's script on the page."""
    figure.update_layout(template="plotly_white", margin={"l": 60, "r": 20, "t": 30, "b": 60}, title=None)
    html: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"responsive": True, "displaylogo": False}
    )
    return html
