"""The state of a fitted forecaster, and its forecast as tensors.

Axes: S series, C channels, L look-back, H horizon, K covariates, F of them known ahead, Q quantile levels.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.covariates import (
    Covariates,
    CovariateValues,
    append_values,
    read_future,
    read_values,
)
from titans_seq.domains.timeseries.network import ForecastConfig, ForecastNetwork
from titans_seq.domains.timeseries.observe import append_rows, validate_new_rows
from titans_seq.domains.timeseries.panel import Panel, Series
from titans_seq.domains.timeseries.prepare import Scaling, to_tensors


@dataclass(frozen=True)
class ForecastState:
    """A fitted network, and what its next forecast is made from."""

    network: ForecastNetwork
    panel: Panel
    """Ends of the series, a context long or shorter."""
    scaling: Scaling
    """Scale of each series and channel, from `fit`."""
    calibration: Calibration | None
    """Errors on held-back windows."""
    covariates: Covariates | None
    covariate_values: CovariateValues
    """Values of the covariates at the ends of the series."""

    @property
    def config(self) -> ForecastConfig:
        """Return the configuration of the network."""
        return self.network.config

    def scaling_for(self, panel: Panel) -> Scaling:
        """Return the scale of the series of another panel."""
        known = self.panel.names
        places = [known.index(s.name) for s in panel.series]
        return Scaling(self.scaling.mean[places], self.scaling.scale[places])

    def inputs(self, X: pd.DataFrame | None) -> tuple[Tensor, ...]:
        """Return the inputs of the network: the scaled past (S, C, L), and covariates if it takes any.

        Raises:
            DataError: see `read_future` and `read_values`.
        """
        context, scaling = self.config.context, self.scaling
        past = (stack_ends(self.panel, context).mT - scaling.mean.unsqueeze(-1)) / scaling.scale.unsqueeze(-1)
        if self.covariates is None:
            read_values(X, self.panel, None, 0)
            return (past,)
        horizon = self.config.horizon
        ends = covariate_inputs(X, self.panel, self.covariates, self.covariate_values, context, horizon)
        return (past, *ends)

    def forecast(self, X: pd.DataFrame | None) -> Tensor:
        """Return the point forecast in the units of the data, (S, H, C)."""
        self.network.eval()
        with torch.inference_mode():
            mean, scale = self.scaling.mean.unsqueeze(-1), self.scaling.scale.unsqueeze(-1)  # (S, C, 1)
            forecast: Tensor = self.network(*self.inputs(X)) * scale + mean
            return forecast.mT

    def scaled_quantiles(self, X: pd.DataFrame | None) -> Tensor:
        """Return the forecast at each of the network's levels, (S, C, H, Q), in units of each series' scale."""
        self.network.eval()
        with torch.inference_mode():
            return self.network.quantiles(*self.inputs(X))


def cut_ends(panel: Panel, values: CovariateValues, context: int) -> tuple[Panel, CovariateValues]:
    """Return the last `context` steps of each series, and of its covariates, which may go on behind it."""
    lengths = [len(s.index) for s in panel.series]
    ends = [Series(s.name, s.index[-context:], s.values[-context:]) for s in panel.series]
    known = [v[:length][-context:] for v, length in zip(values, lengths, strict=bool(values))]
    return replace(panel, series=ends), known


def append_new_rows(state: ForecastState, y: pd.DataFrame, X: pd.DataFrame | None) -> tuple[Panel, CovariateValues]:
    """Return the ends of the series and of their covariates with the new rows of y and X behind them.

    Raises:
        DataError: see `TitansForecaster.update`.
    """
    new = validate_new_rows(state.panel, y)
    values = read_values(X, new, state.covariates, 0)
    known = (
        state.covariate_values if values is None else append_values(state.covariate_values, state.panel, values, new)
    )
    return append_rows(state.panel, new), known


def stack_ends(panel: Panel, context: int) -> Tensor:
    """Return the last steps of each series, (S, L, C), with NaN before a shorter history."""
    return torch.stack([pad_front(values, context) for values in to_tensors(panel)])


def pad_front(values: Tensor, context: int) -> Tensor:
    """Return (T, C) as (L, C) with NaN in front."""
    return F.pad(values, (0, 0, context - len(values), 0), value=torch.nan)


def covariate_inputs(
    X: pd.DataFrame | None, panel: Panel, covariates: Covariates, values: CovariateValues, context: int, horizon: int
) -> tuple[Tensor, Tensor]:
    """Return the covariates of a panel's ends: of the context (S, K, L), and those known ahead (S, F, H)."""
    rows = []
    for series, before, after in zip(panel.series, values, read_future(X, panel, covariates, horizon), strict=True):
        index = pd.DatetimeIndex(series.index.append(panel.future(series.index, horizon)))
        matrix = covariates.matrix(index, np.concatenate([before, after]))
        rows.append(pad_front(matrix, context + horizon))
    stacked = torch.stack(rows).mT
    return stacked[..., :context], stacked[:, len(covariates.past) :, context:]
