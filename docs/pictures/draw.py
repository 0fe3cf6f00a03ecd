"""Draw the pictures of docs/memory.md anew: `python docs/pictures/draw.py` writes them beside this file."""

from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

FOLDER = Path(__file__).parent
INK, MEMORY, ATTENTION, PLAIN, LOSS = "#263238", "#c5cae9", "#ffe0b2", "#eceff1", "#ffcdd2"


def canvas(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """Return a figure and axes in units of a tenth of an inch, without a frame."""
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    figure.patch.set_facecolor("white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 10 * width)
    axes.set_ylim(0, 10 * height)
    axes.axis("off")
    axes.text(2, 10 * height - 3, title, fontsize=12, weight="bold", color=INK, va="center")
    return figure, axes


def box(axes: Axes, x: float, y: float, w: float, h: float, text: str, colour: str = PLAIN, size: float = 9) -> None:
    """Draw a box around its middle (x, y)."""
    patch = FancyBboxPatch(
        (x - w / 2, y - h / 2), w, h, boxstyle="round,pad=0,rounding_size=1", fc=colour, ec=INK, lw=1
    )
    axes.add_patch(patch)
    axes.text(x, y, text, ha="center", va="center", fontsize=size, color=INK)


def arrow(axes: Axes, *points: tuple[float, float], text: str = "", dashed: bool = False) -> None:
    """Draw a line through points that ends in a head."""
    for start, end in pairwise(points[:-1]):
        axes.plot([start[0], end[0]], [start[1], end[1]], color=INK, lw=1, ls="--" if dashed else "-")
    style = {"arrowstyle": "-|>", "mutation_scale": 10, "color": INK, "lw": 1, "ls": "--" if dashed else "-"}
    axes.add_patch(FancyArrowPatch(points[-2], points[-1], shrinkA=0, shrinkB=0, **style))
    if text:
        (x0, y0), (x1, y1) = points[-2:]
        axes.text((x0 + x1) / 2, (y0 + y1) / 2 + 1.2, text, fontsize=8, color=INK, ha="center")


def save(figure: Figure, name: str) -> None:
    """Write a picture; the same input gives the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "titans-seq", "svg.fonttype": "path"}):
        figure.savefig(FOLDER / name, format="svg", metadata={"Date": None})


def update() -> None:
    """One token: its loss, its surprise, and what becomes of the memory."""
    figure, axes = canvas(8.4, 3.9, "One token teaches the memory, then asks it")
    box(axes, 8, 18, 9, 6, "token\nx_t")
    for y, name in ((28, "key k_t"), (18, "value v_t"), (8, "query q_t")):
        box(axes, 22, y, 11, 5, name)
        arrow(axes, (12.5, 18), (16.5, y))
    box(axes, 37, 28, 12, 6, "memory at the\nchunk's start", MEMORY, 7.5)
    arrow(axes, (27.5, 28), (31, 28))
    box(axes, 53, 23, 13, 7, "loss\n|M(k_t) - v_t|²", LOSS)
    arrow(axes, (43, 28), (46.5, 24.5))
    arrow(axes, (27.5, 18), (46.5, 21.5))
    box(axes, 71, 23, 19, 7, "surprise  S_t =\nη S_{t-1} - θ gradient", LOSS)
    arrow(axes, (59.5, 23), (61.5, 23))
    box(axes, 60, 9, 26, 7, "memory  M_t =\n(1 - α) M_{t-1} + α M_0 + S_t", MEMORY)
    arrow(axes, (71, 19.5), (66, 12.5))
    arrow(axes, (27.5, 8), (47, 8))
    axes.text(36, 9.2, "read", fontsize=8, color=INK)
    arrow(axes, (73, 9), (78, 9))
    axes.text(79, 9, "y_t", fontsize=10, color=INK, va="center")
    axes.text(2, 1.5, "η momentum, θ step size, α forgetting: one number per head and token, computed from x_t",
              fontsize=8, color=INK)  # fmt: skip
    save(figure, "update.svg")


def chunk() -> None:
    """What a chunk is: gradients at its first weights, reads with weights of each token's own."""
    figure, axes = canvas(8.4, 4.2, "A chunk: gradients at its start, reads with each token's own weights")
    for c in range(3):
        left = 3 + 17 * c
        axes.add_patch(Rectangle((left - 1, 13), 16, 19, fc="#fafafa", ec="#b0bec5", lw=1))
        axes.text(left + 7, 33, f"chunk {c + 1}", ha="center", fontsize=8, color=INK)
        for i in range(4):
            x = left + 1.5 + 3.7 * i
            box(axes, x, 20, 3, 4, f"{4 * c + i + 1}", PLAIN, 8)
            box(axes, x, 28, 3, 4, f"y{4 * c + i + 1}", MEMORY, 7)
            arrow(axes, (x, 22), (x, 26))
        box(axes, left + 0.5, 8, 6, 4, f"M, S at\nstart {c + 1}", MEMORY, 6.5)
        arrow(axes, (left + 0.5, 10), (left + 0.5, 17.5), dashed=True)
        if c < 2:
            arrow(axes, (left + 3.6, 8), (left + 14.4, 8))
            axes.text(left + 9, 9, "carry", ha="center", fontsize=7, color=INK)
    axes.text(3, 2.5, "All gradients of a chunk are taken at the weights it began with; y_t is read with M_t, which\n"
              "holds the writes of tokens 1 to t and none that come later.", fontsize=8, color=INK)  # fmt: skip
    alpha, eta, theta, size = 0.05, 0.6, 0.1, 8
    decay, momentum = np.log1p(-alpha) * np.arange(size), np.log(eta) * np.arange(size)
    lower = np.tril(np.ones((size, size)))
    a = np.exp(decay[:, None] - decay[None, :]) * lower
    n = theta * np.exp(momentum[:, None] - momentum[None, :]) * lower
    inset = figure.add_axes((0.7, 0.17, 0.26, 0.52))
    inset.imshow(np.where(lower > 0, a @ n, np.nan), cmap="Blues", vmin=0)
    inset.set_title("G: share of write j in the read of t", fontsize=8, color=INK)
    inset.set_xlabel("write j", fontsize=8)
    inset.set_ylabel("read t", fontsize=8)
    inset.set_xticks(range(size), range(1, size + 1), fontsize=7)
    inset.set_yticks(range(size), range(1, size + 1), fontsize=7)
    save(figure, "chunk.svg")


def fading() -> None:
    """How much of one write is left after so many tokens."""
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    tokens = np.arange(400)
    for eta, alpha, style in ((0.0, 0.02, "-"), (0.9, 0.02, "-"), (0.9, 0.002, "-"), (0.9, 0.0, "--")):
        momentum = eta**tokens
        kept = np.array([np.sum(momentum[: t + 1] * (1 - alpha) ** (t - np.arange(t + 1))) for t in tokens])
        axes.plot(tokens, kept * (1 - eta), style, label=f"η = {eta:g}, α = {alpha:g}")
    axes.set_xlabel("tokens after the write")
    axes.set_ylabel("of its full size")
    axes.set_title("Momentum lets a write build up, forgetting fades it", loc="left", fontsize=11, weight="bold")
    axes.legend(fontsize=8, frameon=False)
    axes.grid(alpha=0.3)
    save(figure, "fading.svg")


def backbones() -> None:
    """The four backbones, a block each."""
    figure, axes = canvas(8.4, 4.6, "Four ways to put the memory beside attention")
    columns = (
        ("LMM", "the memory alone"),
        ("MAC", "memory as context"),
        ("MAG", "memory as gate"),
        ("MAL", "memory as layer"),
    )
    for i, (name, what) in enumerate(columns):
        x = 11 + 21 * i
        axes.text(x, 38.5, name, ha="center", fontsize=11, weight="bold", color=INK)
        axes.text(x, 36, what, ha="center", fontsize=8, color=INK)
        axes.text(x, 2.5, "x", ha="center", fontsize=9, color=INK)
    x = 11
    arrow(axes, (x, 4), (x, 14))
    box(axes, x, 17, 13, 6, "memory", MEMORY)
    arrow(axes, (x, 20), (x, 34.5))
    x = 32
    arrow(axes, (x + 3, 4), (x + 3, 14))
    arrow(axes, (x - 5, 4), (x - 5, 6.5))
    box(axes, x - 5, 9, 9, 5, "memory,\nread", MEMORY, 7.5)
    arrow(axes, (x - 5, 11.5), (x - 2, 14))
    box(axes, x, 17, 15, 6, "attention over\n[P | h | segment]", ATTENTION, 7.5)
    arrow(axes, (x - 3, 20), (x - 3, 22))
    box(axes, x - 3, 24.2, 9, 4.4, "memory, written\nand read", MEMORY, 6.5)
    arrow(axes, (x - 3, 26.4), (x - 1, 28.2))
    arrow(axes, (x + 5, 20), (x + 5, 25), (x + 2, 28.2))
    box(axes, x, 30, 9, 3.6, "normed, ×", PLAIN, 7.5)
    arrow(axes, (x, 31.8), (x, 34.5))
    x = 53
    arrow(axes, (x, 4), (x, 6), (x - 5, 10))
    arrow(axes, (x, 4), (x, 6), (x + 5, 10))
    box(axes, x - 5, 14, 9, 8, "sliding\nwindow\nattention", ATTENTION, 7.5)
    box(axes, x + 5, 14, 9, 8, "memory", MEMORY, 8)
    arrow(axes, (x - 5, 18), (x - 1.5, 23))
    arrow(axes, (x + 5, 18), (x + 1.5, 23))
    box(axes, x, 25.5, 11, 5, "normed, ×", PLAIN, 8)
    arrow(axes, (x, 28), (x, 34.5))
    x = 74
    arrow(axes, (x, 4), (x, 7.5))
    box(axes, x, 10.5, 13, 6, "memory", MEMORY)
    arrow(axes, (x, 13.5), (x, 18))
    box(axes, x, 22, 13, 8, "sliding\nwindow\nattention", ATTENTION, 8)
    arrow(axes, (x, 26), (x, 34.5))
    save(figure, "backbones.svg")


if __name__ == "__main__":
    for draw in (update, chunk, fading, backbones):
        draw()
