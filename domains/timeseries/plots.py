"""The picture of a forecast. Axes: C channels, H horizon, Q quantile levels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titans_seq.domains.timeseries.panel import Panel
from titans_seq.plotting import new_figure, save_figure, share_legend

LARGEST = 6
"""Panels of one picture at the most."""


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
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

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
        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=getattr(pd.DatetimeIndex(future), "tz", None)))
        axes.tick_params(labelsize=7)
    left = f" (first {LARGEST} of {len(places)})" if len(places) > LARGEST else ""
    share_legend(figure, 4)
    save_figure(figure, path, title + left)
