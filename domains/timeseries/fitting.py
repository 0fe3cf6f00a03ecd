"""Train any forecasting network on prepared windows, and roll it over others.

Axes: W windows, B batch, C channels, L look-back, H horizon, Q quantile levels.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from titans_seq.domains.timeseries.covariates import check_covariates
from titans_seq.domains.timeseries.losses import LOSSES, pinball
from titans_seq.domains.timeseries.network import ForecastNetwork
from titans_seq.domains.timeseries.prepare import TrainingWindows
from titans_seq.domains.timeseries.windows import ColumnLayout, Windows
from titans_seq.training import History, LossFunction, TrainingConfig, train


@dataclass(frozen=True, kw_only=True)
class FittingConfig:
    """How a forecaster is fitted to a history, beside `TrainingConfig`."""

    loss: str = "spectral"
    """Training loss: "spectral", "mse" or "mae"."""

    future_covariates: Sequence[str] | None = None
    """Columns of X that are known ahead, as holidays or prices; all others of X are known up to the end of the history
    only."""

    calendar: bool | Sequence[str] = False
    """Time of the day, week and year as further covariates, from the time stamps: True for all that the frequency tells
    apart, or some of "minute", "hour", "weekday", "monthday", "yearday", "month"."""

    calibration_fraction: float = 0.0
    """Share of each series, at its very end, that neither trains nor validates, by whose errors intervals are
    calibrated; 0: by those of the windows that validate, which chose the best epoch."""

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {self.loss!r}")
        if not isinstance(self.calibration_fraction, int | float) or not 0 <= self.calibration_fraction < 1:
            raise ValueError(f"calibration_fraction must be at least 0 and below 1, not {self.calibration_fraction!r}")
        check_covariates(self.future_covariates, self.calendar)


def training_loaders(
    data: TrainingWindows, batch_size: int, seed: int
) -> tuple[DataLoader[Tensor], DataLoader[Tensor]]:
    """Return the batches that train and those that validate."""
    return data.train.loader(batch_size, shuffle=True, seed=seed), data.validation.loader(4 * batch_size)


def fit_network(network: nn.Module, data: TrainingWindows, horizon: int, loss: str, config: TrainingConfig) -> History:
    """Train (B, C, L) -> (B, C, H) on the training windows; the validation loss is the plain squared error.

    See `titans_seq.training.train` for the errors.
    """
    loaders = training_loaders(data, config.batch_size, config.random_state)
    return train(network, window_loss(horizon, loss, data.train.columns), *loaders, config)


def window_loss(horizon: int, name: str, columns: ColumnLayout | None = None) -> LossFunction:
    """Return a function of network and windows (B, C, L + H): the named loss in training, else the squared error.

    A loss of "pinball" trains all quantile levels of a `ForecastNetwork`, and validates by the same.

    Args:
        columns: layout of the windows; None: all columns are targets.
    """

    def parts(batch: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        own = ColumnLayout(batch.shape[1]) if columns is None else columns
        return own.inputs(batch, horizon), own.target(batch, horizon)

    def quantile_loss(net: nn.Module, batch: Tensor) -> Tensor:
        assert isinstance(net, ForecastNetwork)
        inputs, target = parts(batch)
        return pinball(net.quantiles(*inputs), target, net.config.levels)

    def loss(net: nn.Module, batch: Tensor) -> Tensor:
        inputs, target = parts(batch)
        return LOSSES[name if net.training else "mse"](net(*inputs), target)

    return quantile_loss if name == "pinball" else loss


def roll(
    network: nn.Module, windows: Windows, horizon: int, context: int | None = None, batch_size: int = 256
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return target and forecast of every window, (W, C, H) each; the network sees `context` steps (None: all)."""
    network.eval()
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    targets, forecasts = [], []
    with torch.inference_mode():
        for batch in windows.loader(batch_size):
            inputs = windows.columns.inputs(batch, horizon, context)
            targets.append(windows.columns.target(batch, horizon).numpy())
            forecasts.append(network(*(part.to(device) for part in inputs)).cpu().numpy())
    return np.concatenate(targets), np.concatenate(forecasts)


def roll_levels(
    network: ForecastNetwork, windows: Windows, horizon: int, chosen: Sequence[int], batch_size: int = 256
) -> tuple[Tensor, Tensor]:
    """Return target (W, C, H) and forecast at every level (W, C, H, Q) of the chosen windows."""
    network.eval()
    targets, forecasts = [], []
    with torch.inference_mode():
        for first in range(0, len(chosen), batch_size):
            batch = windows.__getitems__(list(chosen[first : first + batch_size]))
            targets.append(windows.columns.target(batch, horizon))
            forecasts.append(network.quantiles(*windows.columns.inputs(batch, horizon)))
    return torch.cat(targets), torch.cat(forecasts)


def interpolate_levels(values: Tensor, levels: Sequence[float], wanted: Sequence[float]) -> Tensor:
    """Return values at rising levels (..., Q) at other levels, (..., len(wanted)): linear in between, flat beyond."""
    found = []
    for level in wanted:
        at = bisect_right(levels, level)
        if at in (0, len(levels)):
            found.append(values[..., max(0, at - 1)])
            continue
        share = (level - levels[at - 1]) / (levels[at] - levels[at - 1])
        found.append(torch.lerp(values[..., at - 1], values[..., at], share))
    return torch.stack(found, -1)
