"""Pictures of losses, of surprise along a text, and of accuracy over lengths."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from titans_seq.domains.language.surprise import running_mean
from titans_seq.plotting import new_figure, save_figure, share_legend
from titans_seq.training import History


def plot_history(path: Path, history: History, baselines: Mapping[str, float], title: str) -> None:
    """Draw bits per token of each epoch, and what the baselines reach, bits per byte."""
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    epochs = range(1, len(history.validation_loss) + 1)
    axes.plot(epochs[: len(history.train_loss)], np.array(history.train_loss) / math.log(2), "C0o-", label="training")
    axes.plot(epochs, np.array(history.validation_loss) / math.log(2), "C1o-", label="validation")
    _rules(axes, baselines)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel("bits per byte")
    _finish(figure, path, title)


def plot_losses(
    path: Path, rows: Mapping[str, Mapping[str, float]], baselines: Mapping[str, float], title: str
) -> None:
    """Draw nats per character of named rows, in windows and as a stream, beside baselines in bits per byte."""
    figure = new_figure(9, 0.42 * len(rows) + 1.8)
    axes = figure.add_subplot()
    place = np.arange(len(rows))
    for shift, kind, color in ((-0.18, "windows", "C0"), (0.18, "stream", "C1")):
        means, spreads = ([row[k] for row in rows.values()] for k in (kind, f"{kind}_spread"))
        axes.errorbar(means, place + shift, xerr=spreads, fmt="o", color=color, capsize=3, label=kind)
    axes.set_yticks(place, list(rows))
    axes.invert_yaxis()
    shown = {name: bits * math.log(2) for name, bits in baselines.items() if name in ("5-gram", "bz2", "lzma")}
    for index, (name, nats) in enumerate(shown.items()):
        axes.axvline(nats, color="0.6", ls=("-", "--", ":")[index], lw=1, label=name)
    axes.set_xlabel("nats per character")
    axes.grid(axis="x", alpha=0.3)
    _finish(figure, path, title)


def plot_surprise(path: Path, trace: pd.DataFrame, planted: tuple[int, int] | None, title: str, span: int = 64) -> None:
    """Draw both columns of `TitansLM.surprise`, running means over `span` tokens; `planted` is shaded."""
    columns = [c for c in trace if trace[c].notna().any()]
    means = running_mean(trace, span)
    figure = new_figure(9, 2.2 * len(columns) + 0.8)
    for number, column in enumerate(columns):
        axes = figure.add_subplot(len(columns), 1, number + 1)
        axes.plot(trace[column], color="0.85", lw=0.4)
        axes.plot(means[column], f"C{number}", lw=1.4)
        if planted is not None:
            axes.axvspan(*planted, color="C3", alpha=0.15, label="foreign passage")
        axes.set_ylabel({"bits": "bits per token", "memory": "memory's surprise"}[str(column)])
        axes.set_ylim(0, float(trace[column].quantile(0.995)) * 1.1)
        axes.margins(x=0)
    figure.axes[-1].set_xlabel("token")
    _finish(figure, path, title)


def plot_lengths(
    path: Path, rows: Mapping[str, Mapping[int, tuple[float, float]]], chance: float, title: str, unit: str = "bytes"
) -> None:
    """Draw accuracy over lengths in a unit, each with its spread, one line per named row."""
    figure = new_figure(7.5, 4.5)
    axes = figure.add_subplot()
    for name, points in rows.items():
        means, spreads = ([100 * p[i] for p in points.values()] for i in (0, 1))
        axes.errorbar(list(points), means, yerr=spreads, marker="o", capsize=3, label=name)
    axes.axhline(100 * chance, color="0.6", ls=":", label="chance")
    axes.set_xscale("log", base=2)
    lengths: Sequence[int] = sorted({n for points in rows.values() for n in points})
    axes.set_xticks(lengths, [f"{n:,}" for n in lengths])
    axes.set_xlabel(unit)
    axes.set_ylabel("answers that are right, %")
    axes.set_ylim(-3, 103)
    axes.grid(alpha=0.3)
    _finish(figure, path, title, 4)


def _rules(axes: Any, values: Mapping[str, float]) -> None:
    for index, (name, value) in enumerate(values.items()):
        axes.axhline(value, color=f"{0.35 + 0.5 * index / max(1, len(values)):.2f}", ls="--", lw=1, label=name)


def _finish(figure: Any, path: Path, title: str, columns: int = 5) -> None:
    share_legend(figure, columns)
    save_figure(figure, path, title)
