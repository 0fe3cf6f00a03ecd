"""Make training data of a panel: split by time, scale by the training part, cut windows.

Axes: S series, T steps, C channels, K covariates.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from titans_seq.domains.timeseries.panel import Panel
from titans_seq.domains.timeseries.windows import ColumnLayout, Windows
from titans_seq.errors import DataError, TitansSeqWarning


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation per series and channel, (S, C) float32; 1 for a channel that never moves."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def from_series(cls, series: list[Tensor]) -> "Scaling":
        """Measure the observed values of each (T, C) series; a channel without any gets mean 0 and scale 1."""
        means, scales = [], []
        for values in series:
            x = values.double()
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
    """Windows that train, validate and calibrate a network, and the scale of their values."""

    train: Windows
    validation: Windows
    scaling: Scaling
    calibration: Windows | None = None
    """Windows that neither train nor validate, if any were asked for."""

    @property
    def calibration_set(self) -> Windows | None:
        """Return the windows whose errors calibrate intervals: those put aside, else those that validate, or None."""
        if self.calibration is not None:
            return self.calibration
        return None if self.validation is self.train else self.validation


def to_tensors(panel: Panel) -> list[Tensor]:
    """Return one (T, C) float32 tensor per series, NaN where missing."""
    return [torch.from_numpy(np.ascontiguousarray(s.values)) for s in panel.series]


@dataclass(frozen=True)
class WindowCovariates:
    """Covariates that stand beside the targets in every window."""

    values: list[Tensor]
    """Covariates (T, K) of each series, scaled; NaN where missing."""
    columns: ColumnLayout


def prepare(
    panel: Panel,
    context: int,
    horizon: int,
    validation_fraction: float,
    calibration_fraction: float = 0.0,
    covariates: WindowCovariates | None = None,
) -> TrainingWindows:
    """Split each series by time: windows whose target lies in its last part validate, all before that train.

    With a `calibration_fraction`, that share at the very end is first put aside for calibration.

    A history with room for training windows but none for a validation tail validates on the training windows, with
    a warning.

    Raises:
        DataError: no series is as long as context + horizon.
    """
    if calibration_fraction:
        return _prepare_with_calibration(panel, context, horizon, validation_fraction, calibration_fraction, covariates)
    series, need = to_tensors(panel), context + horizon
    columns = None if covariates is None else covariates.columns
    longest = max(len(v) for v in series)
    if longest < need:
        raise DataError(
            f"the longest series has {longest} steps: context {context} + horizon {horizon} need at least {need}"
        )
    tails = [max(horizon, round(validation_fraction * len(v))) for v in series]
    heads = [v[: len(v) - t] if len(v) - t >= need else v[:0] for v, t in zip(series, tails, strict=True)]
    if any(len(h) for h in heads):
        parts = [h if len(h) else v for h, v in zip(heads, series, strict=True)]
        scaling = Scaling.from_series(parts)
        scaled = _add_covariates(scaling.apply(series), covariates)
        train = Windows([v[: len(h)] for v, h in zip(scaled, heads, strict=True)], need, horizon, columns)
        ends = [v[len(h) - context :] if len(h) else v[:0] for v, h in zip(scaled, heads, strict=True)]
        validation = Windows(ends, need, horizon, columns)
    else:
        warnings.warn(
            f"{longest} steps leave no validation tail (that takes {need + horizon}): "
            "training is judged by its own windows and cannot stop early for good reason",
            TitansSeqWarning,
            stacklevel=3,
        )
        scaling = Scaling.from_series(series)
        train = validation = Windows(_add_covariates(scaling.apply(series), covariates), need, horizon, columns)
    if not len(train) or not len(validation):
        raise DataError(f"no window of {need} steps holds observed values both in its context and in its horizon")
    return TrainingWindows(train, validation, scaling)


def _prepare_with_calibration(
    panel: Panel, context: int, horizon: int, validation: float, calibration: float, covariates: WindowCovariates | None
) -> TrainingWindows:
    rest = panel.head(1 - calibration)
    sizes = [len(s.index) for s in rest.series]
    before = covariates
    if covariates is not None:
        before = WindowCovariates(
            [v[:size] for v, size in zip(covariates.values, sizes, strict=True)], covariates.columns
        )
    data = prepare(rest, context, horizon, validation, covariates=before)
    scaled = _add_covariates(data.scaling.apply(to_tensors(panel)), covariates)
    ends = [v[max(0, size - context) :] for v, size in zip(scaled, sizes, strict=True)]
    windows = Windows(ends, context + horizon, horizon, data.train.columns)
    if not len(windows):
        raise DataError(f"calibration_fraction {calibration:g} holds no window of {horizon} steps: hold back more")
    return replace(data, calibration=windows)


def _add_covariates(scaled: list[Tensor], covariates: WindowCovariates | None) -> list[Tensor]:
    return (
        scaled if covariates is None else [torch.cat(pair, 1) for pair in zip(scaled, covariates.values, strict=True)]
    )
