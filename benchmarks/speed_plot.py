"""The picture of the speed benchmark: tokens a second over the length, forward and backward."""

from pathlib import Path
from typing import Any

from titans_seq.plotting import new_figure, save_figure


def plot_speed(path: Path, result: dict[str, Any]) -> None:
    """Draw one line a contender, on logarithmic axes; ours in colour, peers in grey tones."""
    figure = new_figure(11, 5)
    axes = figure.subplots(1, 2, sharey=True)
    lengths = {int(t): rows for t, rows in result["lengths"].items()}
    names = list(dict.fromkeys(n for rows in lengths.values() for n in rows if n != "matrix products"))
    ours = [n for n in names if n.startswith("memory") or n.endswith("block")]
    for ax, what, title in zip(axes, ("forward", "both"), ("forward", "forward and backward"), strict=True):
        for name in names:
            points = [(t, r[name][what]["tokens_per_second"]) for t, r in lengths.items() if what in r.get(name, {})]
            if not points:
                continue
            style: dict[str, Any] = {"color": f"C{ours.index(name)}", "linewidth": 2} if name in ours else {
                "color": str(0.1 + 0.6 * (names.index(name) - len(ours)) / max(1, len(names) - len(ours))),
                "linestyle": "--",
            }  # fmt: skip
            ax.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name, **style)
        ax.set(xscale="log", yscale="log", title=title, xlabel="tokens")
        ax.set_xticks(list(lengths), [f"{t:,}" for t in lengths])
        ax.set_xticks([], minor=True)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("tokens a second")
    axes[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    save_figure(figure, path)
