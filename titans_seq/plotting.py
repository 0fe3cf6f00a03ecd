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


def share_legend(figure: Any, columns: int) -> None:
    """Draw one legend below all axes of a figure, each label once."""
    handles = {label: h for axes in figure.axes for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=8, frameon=False
        )


def save_figure(figure: Any, path: Path, title: str | None = None, **options: Any) -> None:
    """Write a figure as PNG at once or not at all.

    Args:
        title: stands above all axes. Titles and legends are shown as they are: a name in them may hold dollar signs.
        options: for `Figure.savefig`.
    """
    if title is not None:
        figure.suptitle(title, fontsize=10).set_parse_math(False)
    for axes in figure.axes:
        legend = axes.get_legend()
        for text in [axes.title, *([] if legend is None else legend.get_texts())]:
            text.set_parse_math(False)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, **({"format": "png", "dpi": 120} | options))
