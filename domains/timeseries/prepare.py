"""Scale the series of a panel, and cut the windows that the baselines are trained on.

Axes: S series, T steps, C channels.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from titans_seq.domains.timeseries.panel import Panel
from titans_seq.domains.timeseries.windows import Windows
from titans_seq.errors import DataError

TAIL = 0.002
"""Share of the values at each end that say nothing about the scale of a long series: sentinels, and spikes."""
ENOUGH = 1000
"""Values of a long series."""


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation per series and channel, (S, C) float32; 1 for a channel that never moves."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def from_series(cls, series: list[Tensor], robust: bool = True) -> "Scaling":
        """Measure the observed values of each (T, C) series; a channel without any gets mean 0 and scale 1.

        Args:
            robust: leave a share of `TAIL` at both ends of long series out.
        """
        means, scales = [], []
        for values in series:
            numbers = values.double().numpy()
            if robust and len(numbers) >= ENOUGH:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)  # of channels without any value
                    numbers = np.clip(numbers, *np.nanquantile(numbers, [TAIL, 1 - TAIL], axis=0))
            x = torch.from_numpy(numbers)
            seen = torch.isfinite(x)
            count = seen.sum(0).clamp_min(1)
            mean = x.nan_to_num().sum(0) / count
            variance = (x - mean).where(seen, 0.0).square().sum(0) / count
            scale = variance.sqrt()
            flat = scale <= 1e-8 * mean.abs().clamp_min(1e-30)
            means.append(mean.float())
            scales.append(torch.where(flat, 1.0, scale).float())
        return cls(torch.stack(means), torch.stack(scales))

    def apply(self, series: list[Tensor]) -> list[Tensor]:
        """Return the series with zero mean and unit variance."""
        return [(v - m) / s for v, m, s in zip(series, self.mean, self.scale, strict=True)]


@dataclass(frozen=True)
class TrainingWindows:
    """Windows that train and validate a network, and the scale of their values."""

    train: Windows
    validation: Windows
    scaling: Scaling


def to_tensors(panel: Panel) -> list[Tensor]:
    """Return one (T, C) float32 tensor per series, NaN where missing."""
    return [torch.from_numpy(np.ascontiguousarray(s.values)) for s in panel.series]


def prepare(series: list[Tensor], scaling: Scaling, context: int, horizon: int, fraction: float) -> TrainingWindows:
    """Split each series (T, C) by time: windows whose target lies in its last part validate, all before that train.

    A history with room for training windows but none for a validation tail validates on the training windows.

    Raises:
        DataError: no series is as long as context + horizon.
    """
    need = context + horizon
    longest = max(len(v) for v in series)
    if longest < need:
        raise DataError(
            f"the longest series has {longest} steps: context {context} + horizon {horizon} need at least {need}"
        )
    scaled = scaling.apply(series)
    tails = [max(horizon, round(fraction * len(v))) for v in series]
    heads = [v[: len(v) - t] if len(v) - t >= need else v[:0] for v, t in zip(scaled, tails, strict=True)]
    train = validation = Windows(scaled, need, horizon)
    if any(len(h) for h in heads):
        train = Windows(heads, need, horizon)
        ends = [v[len(h) - context :] if len(h) else v[:0] for v, h in zip(scaled, heads, strict=True)]
        validation = Windows(ends, need, horizon)
    if not len(train) or not len(validation):
        raise DataError(f"no window of {need} steps holds observed values both in its context and in its horizon")
    return TrainingWindows(train, validation, scaling)
