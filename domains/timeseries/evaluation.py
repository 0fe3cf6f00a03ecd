"""Evaluate several models on the same held-back windows. Axes: W windows, C channels, H horizon, T steps."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from titans_seq.domains.timeseries.fitting import roll
from titans_seq.domains.timeseries.metrics import Scores, seasonal_naive_error
from titans_seq.domains.timeseries.prepare import Scaling
from titans_seq.domains.timeseries.windows import Windows
from titans_seq.errors import DataError


@dataclass(frozen=True)
class Evaluation:
    """Scores per model, over all channels and for each, and each series' last window."""

    scores: dict[str, Scores]
    channels: dict[str, dict[str, Scores]]
    """Model -> channel -> scores, on the scaled values."""
    raw_mae: dict[str, dict[str, float]]
    """Model -> channel -> mean absolute error in the data's own units."""
    last: dict[str, list[tuple[int, NDArray[np.float32]] | None]]
    """Model -> per series the row at which the last window's target begins, and its forecast (C, H); or None."""
    windows: int


def evaluate(
    models: Mapping[str, tuple[nn.Module, int]],
    series: list[Tensor],
    begin: list[int],
    scaling: Scaling,
    horizon: int,
    season: int,
    channels: list[str],
) -> Evaluation:
    """Roll every model over all windows whose target begins at or after row `begin` of its series.

    Args:
        models: name -> (network, steps it looks back).
        series: (T, C) per series, from its first row on; `scaling` is applied here.
        begin: per series, the first row held back; the rows before it give the unit of the mase.

    Raises:
        DataError: there is no such window.
    """
    history = max(context for _, context in models.values())
    targets, units, scales = [], [], []
    forecasts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in models}
    last: dict[str, list[tuple[int, NDArray[np.float32]] | None]] = {name: [] for name in models}
    for values, first, scale in zip(scaling.apply(series), begin, scaling.scale.numpy(), strict=True):
        offset = max(0, first - history)
        windows = Windows([values[offset:]], history + horizon, horizon)
        if not len(windows):
            for name in models:
                last[name].append(None)
            continue
        unit = seasonal_naive_error(values[:first].numpy(), season)
        for name, (network, context) in models.items():
            target, forecast = roll(network, windows, horizon, context)
            forecasts[name].append(forecast)
            last[name].append((offset + int(windows.starts[-1]) + history, forecast[-1]))
        targets.append(target)
        units.append(np.broadcast_to(unit, target.shape[:2]))
        scales.append(np.broadcast_to(scale, target.shape[:2]))
    if not targets:
        raise DataError(
            f"the held-back end has no window of {history} + {horizon} steps: hold back more, or look back less"
        )
    target, unit = np.concatenate(targets), np.concatenate(units)
    scale = np.concatenate(scales)[..., None]
    stacked = {name: np.concatenate(parts) for name, parts in forecasts.items()}
    return Evaluation(
        scores={name: Scores.from_forecasts(target, f, unit) for name, f in stacked.items()},
        channels={
            name: {
                channel: Scores.from_forecasts(target[:, [c]], f[:, [c]], unit[:, [c]])
                for c, channel in enumerate(channels)
            }
            for name, f in stacked.items()
        },
        raw_mae={
            name: dict(zip(channels, np.nanmean(np.abs(f - target) * scale, axis=(0, 2)).tolist(), strict=True))
            for name, f in stacked.items()
        },
        last=last,
        windows=len(target),
    )
