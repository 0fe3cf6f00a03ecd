"""Pictures: figures that need no display, and files that are written whole or not at all."""

from pathlib import Path
from typing import Any

from titans_seq.files import write_atomically


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of matplotlib, in inches, that draws without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path, title: str = "") -> None:
    """Write a figure as PNG at once or not at all; a `$` in a text, such as a file's name, is no formula."""
    if title:
        figure.suptitle(title, fontsize=10)
    for text in figure.findobj(lambda artist: hasattr(artist, "set_parse_math")):
        text.set_parse_math(False)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, **({"format": "png", "dpi": 120} | options))
