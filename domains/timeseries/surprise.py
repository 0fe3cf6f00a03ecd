"""The memory's surprise along a series. Axes: B streams, C channels, N tokens, P patch, H heads."""

import numpy as np
import pandas as pd
import torch

from titans_seq.domains.timeseries.covariates import read_values
from titans_seq.domains.timeseries.inputs import ForecastState
from titans_seq.domains.timeseries.observe import align_to_grid
from titans_seq.domains.timeseries.panel import split_series
from titans_seq.domains.timeseries.stamps import to_stamps
from titans_seq.errors import DataError
from titans_seq.memory.record import record_surprise


def surprise_frame(state: ForecastState, y: pd.DataFrame, X: pd.DataFrame | None) -> pd.DataFrame:
    """Return the surprise of each step, in the layout of y; see `TitansForecaster.surprise`."""
    if state.config.backbone.variant in ("attention", "gru", "none"):
        raise DataError(f"variant {state.config.backbone.variant} has no memory to be surprised")
    panel, patch = align_to_grid(state.panel, y), state.reader.patch
    values = read_values(X, panel, state.covariates, 0)
    if all(len(s.index) <= patch for s in panel.series):
        longest = max(len(s.index) for s in panel.series)
        raise DataError(f"the longest series has {longest} steps: a token of {patch} and a step behind it are needed")
    traces = []
    for place, series in enumerate(panel.series):
        alone = panel.only(place)
        streamer = state.streamer(alone, None if values is None else [values[place]], torch.zeros(1).long())
        trace = np.full(series.values.shape, np.nan, dtype=np.float32)
        if len(series.index) > patch:
            with record_surprise(state.network) as norms:
                streamer.run(state.anew(alone), [torch.zeros(0).long()], torch.tensor([len(series.index)]))
                own = torch.stack([torch.cat(of, 2).mean(1) for of in norms]).mean(0)  # (C, N)
            known = own.mT.repeat_interleave(patch, 0).numpy()
            trace[: len(known)] = known
        traces.append(np.where(np.isnan(series.values), np.nan, trace))
    names, indices = panel.names, [s.index for s in panel.series]
    given = [to_stamps(group.index).sort_values() for _, group in split_series(y)[0]]
    kept = [index.get_indexer(stamps) for index, stamps in zip(indices, given, strict=True)]
    return panel.frame(
        names,
        [index[k] for index, k in zip(indices, kept, strict=True)],
        [v[k] for v, k in zip(traces, kept, strict=True)],
    )
