"""Evaluate several models on the same held-back windows. Axes: W windows, C channels, H horizon, T steps."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from titans_seq.domains.timeseries.metrics import Scores, seasonal_naive_error
from titans_seq.domains.timeseries.prepare import Scaling
from titans_seq.domains.timeseries.windowed import roll
from titans_seq.domains.timeseries.windows import Windows
from titans_seq.errors import DataError

Streamed = Callable[[int, Tensor], NDArray[np.float32]]


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
    by_step: dict[str, list[float]]
    """Model -> mean absolute error of each step of the horizon, on the scaled values."""
    by_window: dict[str, NDArray[np.float32]]
    """Model -> mean absolute error of each window, on the scaled values, (W,)."""
    rows: NDArray[np.int64]
    """Row of its series at which each window's target begins, (W,)."""
    windows: int


def evaluate(
    models: Mapping[str, tuple[nn.Module, int]],
    streamed: Mapping[str, Streamed],
    series: list[Tensor],
    begin: list[int],
    scaling: Scaling,
    horizon: int,
    season: int,
    channels: list[str],
) -> Evaluation:
    """Forecast with every model from all rows whose target begins at or after row `begin` of its series.

    Args:
        models: name -> (network, steps it looks back).
        streamed: name -> function of the number of a series and the rows (W,) seen at each forecast, which returns
            forecasts (W, C, H), scaled.
        series: (T, C) per series, from its first row on; `scaling` is applied here.
        begin: per series, the first row held back; the rows before it give the unit of the mase.

    Raises:
        DataError: there is no such window.
    """
    history = max((context for _, context in models.values()), default=1)
    targets, units, scales, rows = [], [], [], []
    names = [*streamed, *models]
    forecasts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    last: dict[str, list[tuple[int, NDArray[np.float32]] | None]] = {name: [] for name in names}
    places = enumerate(zip(scaling.apply(series), begin, scaling.scale.numpy(), strict=True))
    for place, (values, first, scale) in places:
        offset = max(0, first - history)
        windows = Windows([values[offset:]], history + horizon, horizon)
        if not len(windows):
            for name in names:
                last[name].append(None)
            continue
        unit = seasonal_naive_error(values[:first].numpy(), season)
        seen = offset + windows.starts + history
        target = windows.targets(horizon)
        found = {name: roll(network, windows, horizon, context) for name, (network, context) in models.items()}
        found |= {name: forecast(place, seen) for name, forecast in streamed.items()}
        for name, forecast in found.items():
            forecasts[name].append(forecast)
            last[name].append((int(seen[-1]), forecast[-1]))
        targets.append(target)
        rows.append(seen.numpy())
        units.append(np.broadcast_to(unit, target.shape[:2]))
        scales.append(np.broadcast_to(scale, target.shape[:2]))
    if not targets:
        raise DataError(
            f"the held-back end has no window of {history} + {horizon} steps: hold back more, or look back less"
        )
    target, unit = np.concatenate(targets), np.concatenate(units)
    scale = np.concatenate(scales)[..., None]
    stacked = {name: np.concatenate(parts) for name, parts in forecasts.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of windows without any target
        errors = {name: np.abs(f - target) for name, f in stacked.items()}
        by_window = {name: np.nanmean(error, (1, 2)) for name, error in errors.items()}
        by_step = {name: np.nanmean(error, (0, 1)).tolist() for name, error in errors.items()}
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
        by_step=by_step,
        by_window=by_window,
        rows=np.concatenate(rows),
        windows=len(target),
    )
