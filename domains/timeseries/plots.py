"""Pictures of a forecast and of its errors. Axes: W windows, C channels, H horizon, Q quantile levels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titans_seq.domains.timeseries.evaluation import Evaluation
from titans_seq.domains.timeseries.panel import Panel
from titans_seq.plotting import new_figure, save_figure, share_legend

LARGEST = 6
"""Panels of one picture at the most."""
MOST_CHANNELS = 12
"""Channels whose errors are drawn."""
BINS = 80
"""Points of an error over time at the most."""
COLOURS = {"titans": "C1", "dlinear": "C0", "seasonal naive": "C2", "last value": "0.45", "drift": "0.7"}


def plot_forecast(
    path: Path,
    panel: Panel,
    forecasts: Sequence[NDArray[np.float32]],
    checks: Sequence[tuple[int, NDArray[np.float32]] | None],
    steps: int,
    title: str,
) -> None:
    """Draw one small plot per series and channel: the last `steps`, a forecast of the held-back end, and the future.

    Args:
        forecasts: per series (H, C, Q), behind the end, at rising levels of which the middle one is the median.
        checks: per series the row at which a forecast of held-back steps begins, and the forecast (H, C); or None.
    """
    places = [(s, c) for s in range(len(panel.series)) for c in range(len(panel.channels))]
    shown = places[:LARGEST]
    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    figure = new_figure(6.2 * columns + 0.6, 2.6 * rows + 0.8)
    for position, (s, c) in enumerate(shown):
        series, axes = panel.series[s], figure.add_subplot(rows, columns, position + 1)
        axes.plot(series.index[-steps:], series.values[-steps:, c], color="0.35", lw=1, label="observed")
        check = checks[s]
        if check is not None:
            row, values = check
            axes.plot(series.index[row : row + len(values)], values[:, c], "C0--", lw=1.2, label="forecast, held back")
        future, levels = panel.future(series.index, len(forecasts[s])), forecasts[s][:, c]
        axes.plot(future, levels[:, levels.shape[1] // 2], "C1", lw=1.6, label="forecast")
        if levels.shape[1] > 1:
            axes.fill_between(future, levels[:, 0], levels[:, -1], color="C1", alpha=0.25, lw=0, label="its quantiles")
        axes.axvline(series.index[-1], color="0.7", lw=0.8)
        axes.set_title(" ".join(filter(None, [series.name, panel.channels[c]])), fontsize=9, parse_math=False)
        _write_dates(axes, future)
        axes.tick_params(labelsize=7)
    left = f" (first {LARGEST} of {len(places)})" if len(places) > LARGEST else ""
    share_legend(figure, 4)
    save_figure(figure, path, title + left)


def plot_errors(path: Path, result: Evaluation, index: pd.DatetimeIndex | None, title: str) -> None:
    """Draw the errors of all models by step, by channel, and over the held-back time.

    Args:
        index: stamps of the one series there is; None leaves the errors over time out.
    """
    count = 2 if index is None else 3
    figure = new_figure(5.2 * count, 4.4)
    steps, channels, *rest = (figure.add_subplot(1, count, place + 1) for place in range(count))
    for name, values in result.by_step.items():
        marker = "o" if len(values) == 1 else None
        steps.plot(range(1, len(values) + 1), values, color=COLOURS.get(name), marker=marker, label=name)
    steps.set_title("mean absolute error by step ahead", fontsize=9)
    order = sorted(result.channels["titans"], key=lambda c: result.channels["titans"][c].mase)
    shown = order if len(order) <= MOST_CHANNELS else [*order[: MOST_CHANNELS // 2], *order[-MOST_CHANNELS // 2 :]]
    for name, scores in result.channels.items():
        size = 7 if name == "titans" else 4
        mase = [scores[c].mase for c in shown]
        channels.plot(mase, range(len(shown)), "o", ms=size, color=COLOURS.get(name), label=name)
    channels.set_yticks(range(len(shown)), [c[:24] for c in shown])
    for label in channels.get_yticklabels():
        label.set_parse_math(False)
    channels.axvline(1, color="0.8", lw=0.8)
    channels.grid(axis="y", color="0.92")
    left = "" if len(shown) == len(order) else f" (best and worst of {len(order)})"
    channels.set_title(f"MASE by channel{left}", fontsize=9)
    for axes in rest:
        assert index is not None
        parts = np.array_split(np.arange(len(result.rows)), min(BINS, len(result.rows)))
        stamps = index[[result.rows[part[len(part) // 2]] for part in parts]]
        for name, errors in result.by_window.items():
            means = [float(np.nanmean(errors[part])) if np.isfinite(errors[part]).any() else np.nan for part in parts]
            axes.plot(stamps, means, color=COLOURS.get(name), lw=1, label=name)
        _write_dates(axes, index)
        axes.set_title("mean absolute error over the held-back time", fontsize=9)
    for axes in figure.axes:
        axes.tick_params(labelsize=7)
    share_legend(figure, len(result.by_step))
    save_figure(figure, path, title)


def _write_dates(axes: Any, index: pd.DatetimeIndex) -> None:
    """Label an axis of time shortly, in the time zone of its stamps."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=index.tz))
