"""Errors of forecasts with missing targets. Axes: W windows, C channels, H horizon."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import mean_absolute_error, mean_squared_error

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Scores:
    """Errors over all windows, channels and steps that were observed; NaN where none was."""

    mse: float
    mae: float
    mase: float
    """Absolute error in units of the seasonal naive forecast's error on the training data."""

    @classmethod
    def from_forecasts(cls, target: Array, forecast: Array, naive: Array) -> "Scores":
        """Measure forecasts (W, C, H) of a target, NaN where missing; naive (W, C) is the unit of the MASE."""
        seen = np.isfinite(target)
        if not seen.any():
            return cls(float("nan"), float("nan"), float("nan"))
        unit = np.broadcast_to(naive[..., None], target.shape)
        t, f, u = (a[seen].astype(np.float64) for a in (target, forecast, unit))
        ratio = np.abs(t - f)[u > 0] / u[u > 0]
        return cls(
            mse=float(mean_squared_error(t, f)),
            mae=float(mean_absolute_error(t, f)),
            mase=float(ratio.mean()) if ratio.size else float("nan"),
        )


def seasonal_naive_error(values: Array, season: int) -> Array:
    """Return the mean absolute seasonal difference per channel, (T, C) -> (C,), the unit of the mase, or NaN."""
    if len(values) <= season:
        return np.full(values.shape[1], np.nan)
    change = np.abs(values[season:] - values[:-season])
    counts = np.isfinite(change).sum(0)
    total = np.nansum(change, 0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
