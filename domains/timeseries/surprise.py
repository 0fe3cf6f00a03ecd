"""The memory's surprise along a series. Axes: B batch, C channels, L look-back, N patches, H heads."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from titans_seq.domains.timeseries.backtest import windows_at
from titans_seq.domains.timeseries.covariates import known_of
from titans_seq.domains.timeseries.observe import placed
from titans_seq.domains.timeseries.panel import tables
from titans_seq.errors import DataError, TitansSeqWarning
from titans_seq.memory.recorded import recorded

if TYPE_CHECKING:
    from titans_seq.domains.timeseries.forecaster import TitansForecaster


def surprise_frame(model: TitansForecaster, y: pd.DataFrame, X: pd.DataFrame | None) -> pd.DataFrame:
    """See `TitansForecaster.surprise`."""
    if model.variant == "attention":
        raise DataError("variant attention has no memory to be surprised")
    panel = placed(model.panel_, y)
    known = known_of(X, panel, model.covariates_, model.horizon)
    rows = [np.arange(model.context - 1, len(s.index), dtype=np.int64) for s in panel.series]
    if not any(len(own) for own in rows):
        longest = max(len(s.index) for s in panel.series)
        raise DataError(f"the longest series has {longest} steps, fewer than the context of {model.context}")
    tokens = model.network_.config.patches
    if tokens <= model.chunk_size:
        warnings.warn(
            f"the {tokens} tokens of a context lie in one chunk of {model.chunk_size}, so the memory has learned from "
            "none of them when it meets the last: to find anomalies, fit with chunk_size=1 and many patches",
            TitansSeqWarning,
            stacklevel=3,
        )
    parts = []
    model.network_.eval()
    with torch.inference_mode(), recorded(model.network_) as norms:
        for inputs in windows_at(model, panel, rows, known, "surprise"):
            model.network_(*inputs)
            last = [torch.cat(of, 2)[..., -1].mean(-1) for of in norms]  # (B C,) per memory
            parts.append(torch.stack(last).mean(0).unflatten(0, inputs[0].shape[:2]))
            for of in norms:
                of.clear()
    found = torch.cat(parts).split([len(own) for own in rows])
    values = []
    for series, own, scores in zip(panel.series, rows, found, strict=True):
        whole = np.full(series.values.shape, np.nan, dtype=np.float32)
        whole[own] = scores.numpy()
        values.append(np.where(np.isnan(series.values), np.nan, whole))
    names, indices = [s.name for s in panel.series], [s.index for s in panel.series]
    given = [pd.DatetimeIndex(pd.to_datetime(group.index)).sort_values() for _, group in tables(y)[0]]
    kept = [index.get_indexer(stamps) for index, stamps in zip(indices, given, strict=True)]
    return panel.frame(
        names,
        [index[k] for index, k in zip(indices, kept, strict=True)],
        [v[k] for v, k in zip(values, kept, strict=True)],
    )
