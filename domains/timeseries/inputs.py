"""What a fitted forecaster's next forecast is made from.

Axes: S series, C channels, L look-back, H horizon, K covariates, F of them known ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from titans_seq.domains.timeseries.covariates import Covariates, Known, known_of, read_ahead
from titans_seq.domains.timeseries.panel import Panel
from titans_seq.domains.timeseries.prepare import tensors

if TYPE_CHECKING:
    from titans_seq.domains.timeseries.forecaster import TitansForecaster


def past_of(panel: Panel, context: int) -> Tensor:
    """The last steps of each series, (S, L, C), with NaN before a shorter history."""
    return torch.stack([in_front(values, context) for values in tensors(panel)])


def in_front(values: Tensor, context: int) -> Tensor:
    """(T, C) to (L, C) with NaN before it."""
    return F.pad(values, (0, 0, context - len(values), 0), value=torch.nan)


def inputs_of(model: TitansForecaster, X: pd.DataFrame | None) -> tuple[Tensor, ...]:
    """What the network takes, with a batch of S: the scaled past (S, C, L), and covariates if it takes any.

    Raises:
        DataError: see `read_ahead` and `known_of`.
    """
    panel, scaling = model.panel_, model.scaling_
    past = (past_of(panel, model.context).mT - scaling.mean.unsqueeze(-1)) / scaling.scale.unsqueeze(-1)
    if model.covariates_ is None:
        known_of(X, panel, None, 0)
        return (past,)
    return (past, *inputs_beside(X, panel, model.covariates_, model.known_, model.context, model.horizon))


def inputs_beside(
    X: pd.DataFrame | None, panel: Panel, covariates: Covariates, known: Known, context: int, horizon: int
) -> tuple[Tensor, Tensor]:
    """Covariates behind a panel's ends: of the context (S, K, L), and those known ahead over the horizon (S, F, H)."""
    rows = []
    for series, before, after in zip(panel.series, known, read_ahead(X, panel, covariates, horizon), strict=True):
        index = pd.DatetimeIndex(series.index.append(panel.future(series.index, horizon)))
        values = covariates.matrix(index, np.concatenate([before, after]))
        rows.append(in_front(values, context + horizon))
    stacked = torch.stack(rows).mT
    return stacked[..., :context], stacked[:, len(covariates.past) :, context:]
