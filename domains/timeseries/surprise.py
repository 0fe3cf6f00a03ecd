"""The memory's surprise along a series. Axes: B batch, C channels, L look-back, N patches, H heads."""

import warnings

import numpy as np
import pandas as pd
import torch

from titans_seq.domains.timeseries.backtest import iterate_inputs
from titans_seq.domains.timeseries.covariates import read_values
from titans_seq.domains.timeseries.inputs import ForecastState
from titans_seq.domains.timeseries.observe import align_to_grid
from titans_seq.domains.timeseries.panel import split_series
from titans_seq.errors import DataError, TitansSeqWarning
from titans_seq.memory.record import record_surprise


def surprise_frame(
    state: ForecastState, y: pd.DataFrame, X: pd.DataFrame | None, verbose: bool = False
) -> pd.DataFrame:
    """Return the surprise of each step, in the layout of y; see `TitansForecaster.surprise`."""
    config = state.config
    if config.backbone.variant == "attention":
        raise DataError("variant attention has no memory to be surprised")
    panel = align_to_grid(state.panel, y)
    values = read_values(X, panel, state.covariates, config.horizon)
    rows = [np.arange(config.context - 1, len(s.index), dtype=np.int64) for s in panel.series]
    if not any(len(own) for own in rows):
        longest = max(len(s.index) for s in panel.series)
        raise DataError(f"the longest series has {longest} steps, fewer than the context of {config.context}")
    if config.patches <= config.backbone.chunk_size:
        warnings.warn(
            f"the {config.patches} tokens of a context lie in one chunk of {config.backbone.chunk_size}, so the memory "
            "has learned from none of them when it meets the last: to find anomalies, fit with chunk_size=1 and many "
            "patches",
            TitansSeqWarning,
            stacklevel=3,
        )
    parts = []
    state.network.eval()
    with torch.inference_mode(), record_surprise(state.network) as norms:
        for inputs in iterate_inputs(state, panel, rows, values, "surprise", verbose):
            state.network(*inputs)
            last = [torch.cat(of, 2)[..., -1].mean(-1) for of in norms]  # (B C,) per memory
            parts.append(torch.stack(last).mean(0).unflatten(0, inputs[0].shape[:2]))
            for of in norms:
                of.clear()
    found = torch.cat(parts).split([len(own) for own in rows])
    traces = []
    for series, own, scores in zip(panel.series, rows, found, strict=True):
        whole = np.full(series.values.shape, np.nan, dtype=np.float32)
        whole[own] = scores.numpy()
        traces.append(np.where(np.isnan(series.values), np.nan, whole))
    names, indices = panel.names, [s.index for s in panel.series]
    given = [pd.DatetimeIndex(pd.to_datetime(group.index)).sort_values() for _, group in split_series(y)[0]]
    kept = [index.get_indexer(stamps) for index, stamps in zip(indices, given, strict=True)]
    return panel.frame(
        names,
        [index[k] for index, k in zip(indices, kept, strict=True)],
        [v[k] for v, k in zip(traces, kept, strict=True)],
    )
