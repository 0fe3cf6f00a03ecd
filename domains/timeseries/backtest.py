"""Forecasts from many places of a history at once. Axes: W windows, T steps, C channels, L look-back, H horizon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.base import clone
from torch import Tensor

from titans_seq.domains.timeseries.covariates import Known, scale_of
from titans_seq.domains.timeseries.panel import ID, TIME, Panel, Series
from titans_seq.domains.timeseries.prepare import Scaling, tensors
from titans_seq.domains.timeseries.windows import Columns
from titans_seq.errors import DataError, reason

if TYPE_CHECKING:
    from titans_seq.domains.timeseries.forecaster import TitansForecaster

BATCH = 256
"""Windows at a time."""

Rows = NDArray[np.int64]
"""Of one series: the last row that each forecast sees."""


def cutoff_rows(panel: Panel, context: int, horizon: int, stride: int, n_windows: int | None) -> list[Rows]:
    """The last `n_windows` places, `stride` apart, with `context` rows up to them and `horizon` rows behind."""
    found = []
    for series in panel.series:
        rows = np.arange(len(series.index) - 1 - horizon, context - 2, -stride, dtype=np.int64)
        found.append(rows[:n_windows][::-1].copy())
    if not any(len(rows) for rows in found):
        longest = max(len(s.index) for s in panel.series)
        raise DataError(
            f"the longest series has {longest} steps: context {context} + horizon {horizon} need {context + horizon}"
        )
    return found


def rows_of(panel: Panel, cutoffs: Iterable[Any]) -> list[Rows]:
    """The rows of these stamps, in each series that has them.

    Raises:
        DataError: not a stamp, or one that no series has.
    """
    zone = panel.series[0].index.tz
    try:
        stamps = pd.DatetimeIndex(pd.to_datetime(list(cutoffs))).unique().sort_values()
        stamps = stamps if zone is None or stamps.tz is not None else stamps.tz_localize(zone)
    except (ValueError, TypeError) as error:
        raise DataError(f"cutoffs must be time stamps: {reason(error)}") from error
    if not len(stamps):
        raise DataError("cutoffs is empty")
    if str(stamps.tz) != str(zone):
        raise DataError(f"the cutoffs are in time zone {stamps.tz}, the series in {zone}")
    places = [s.index.get_indexer(stamps) for s in panel.series]
    nowhere = np.stack(places).max(0) < 0
    if nowhere.any():
        raise DataError(f"cutoff {stamps[int(nowhere.argmax())]} is a step of no series")
    return [np.asarray(rows[rows >= 0], dtype=np.int64) for rows in places]


def windows_at(
    model: TitansForecaster, panel: Panel, rows: list[Rows], known: Known | None, label: str
) -> Iterator[tuple[Tensor, ...]]:
    """What the network takes at these rows, scaled as in `fit`, in batches, one series after the other."""
    context, horizon = model.context, model.horizon
    columns = Columns(len(panel.channels))
    scaled = scaling_of(model, panel).apply(tensors(panel))
    parts = [F.pad(values, (0, 0, context, horizon), value=torch.nan) for values in scaled]
    if model.covariates_ is not None and known is not None:
        columns = model.covariates_.columns(len(panel.channels))
        indices = [pd.DatetimeIndex(s.index.append(panel.future(s.index, horizon))) for s in panel.series]
        beside = [model.covariates_.matrix(index, own) for index, own in zip(indices, known, strict=True)]
        beside = [F.pad(values, (0, 0, context, 0), value=torch.nan) for values in beside]
        parts = [torch.cat(pair, 1) for pair in zip(parts, beside, strict=True)]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    ends = [torch.from_numpy(own + int(start) + context) for own, start in zip(rows, starts, strict=True)]
    joined, steps = torch.cat(parts), torch.arange(1 - context, horizon + 1)
    for batch in shown(torch.cat(ends).split(BATCH), label, model.verbose):
        yield columns.inputs(joined[batch.unsqueeze(1) + steps].mT, horizon)


def scaling_of(model: TitansForecaster, panel: Panel) -> Scaling:
    """The model's, of the panel's series."""
    known = [s.name for s in model.panel_.series]
    places = [known.index(s.name) for s in panel.series]
    return Scaling(model.scaling_.mean[places], model.scaling_.scale[places])


def forecasts_at(
    model: TitansForecaster, panel: Panel, rows: list[Rows], known: Known | None
) -> list[NDArray[np.float32]]:
    """(W, H, C) per series in its own units: what the model forecasts when it has seen up to each of its rows."""
    model.network_.eval()
    with torch.inference_mode():
        forecast = torch.cat([model.network_(*i) for i in windows_at(model, panel, rows, known, "backtest")]).mT
    scaling = scaling_of(model, panel)
    parts = zip(forecast.split([len(own) for own in rows]), scaling.mean, scaling.scale, strict=True)
    return [(f * scale + mean).numpy() for f, mean, scale in parts]


def refitted_at(
    model: TitansForecaster, panel: Panel, rows: list[Rows], known: Known | None
) -> list[NDArray[np.float32]]:
    """As `forecasts_at`, by a model of the same parameters that is fitted anew on what lies before each cutoff."""
    stamps = sorted({stamp for s, own in zip(panel.series, rows, strict=True) for stamp in s.index[own]})
    shape = (0, model.horizon, len(panel.channels))
    found = [[np.zeros(shape, np.float32)] for _ in panel.series]
    for stamp in shown(stamps, "backtest, fitting anew", model.verbose):
        lengths = [int((s.index <= stamp).sum()) for s in panel.series]
        begun = [i for i, length in enumerate(lengths) if length]
        cut = [Series(s.name, s.index[:n], s.values[:n]) for s, n in zip(panel.series, lengths, strict=True) if n]
        before = Panel(cut, panel.channels, panel.freq, panel.layout)
        fresh = clone(model).set_params(verbose=False)
        own, there = None, None
        if model.covariates_ is not None and known is not None:
            there = [known[i] for i in begun]
            own = replace(model.covariates_, scaling=scale_of(before, there))
        fresh.fit_panel(before, covariates=own, known=there)
        at = [i for i in begun if stamp in panel.series[i].index[rows[i]]]
        some = Panel([panel.series[i] for i in at], panel.channels, panel.freq, panel.layout)
        ends = [np.array([lengths[i] - 1], dtype=np.int64) for i in at]
        values = forecasts_at(fresh, some, ends, None if known is None else [known[i] for i in at])
        for i, forecast in zip(at, values, strict=True):
            found[i].append(forecast)
    return [np.concatenate(f) for f in found]


def squared_error(model: TitansForecaster, panel: Panel, known: Known | None) -> float:
    """Mean over all windows of a stretch, on standardised values; see `TitansForecaster.score`.

    Raises:
        DataError: no window holds an observed target.
    """
    names, ends = [s.name for s in model.panel_.series], model.panel_.series
    whole, beside, rows = [], [], []
    for place, series in enumerate(panel.series):
        end = names.index(series.name)
        before, own = ends[end], None if known is None else known[place]
        follows = series.index[0] == before.index[-1] + panel.freq
        first = len(before.index) if follows else model.context  # row of the first target
        if follows:
            index = pd.DatetimeIndex(before.index.append(series.index))
            series = Series(series.name, index, np.concatenate([before.values, series.values]))
            own = None if own is None else np.concatenate([model.known_[end], own])
        whole.append(series)
        beside.append(own)
        stop = len(series.index) - model.horizon
        rows.append(np.arange(first - 1, max(stop, first) if follows else stop, dtype=np.int64))
    joined = Panel(whole, panel.channels, panel.freq, panel.layout)
    together = None if known is None else [own for own in beside if own is not None]
    if not any(len(own) for own in rows):
        raise DataError(f"no window of context {model.context} + horizon {model.horizon} to score")
    errors = []
    forecasts = forecasts_at(model, joined, rows, together)
    for series, at, forecast, scale in zip(whole, rows, forecasts, scaling_of(model, joined).scale, strict=True):
        values = np.pad(series.values, ((0, model.horizon), (0, 0)), constant_values=np.nan)
        target = values[at[:, None] + np.arange(1, model.horizon + 1)]
        errors.append(((forecast - target) / scale.numpy()).ravel().astype(np.float64))
    error = np.concatenate(errors)
    if not np.isfinite(error).any():
        raise DataError("no target of any window is observed: nothing to score")
    return float(np.nanmean(error**2))


def backtest_frame(panel: Panel, rows: list[Rows], forecasts: list[NDArray[np.float32]], horizon: int) -> pd.DataFrame:
    """One row per series, channel, cutoff and step; the target is NaN where it is missing or not known yet."""
    frames = []
    for series, own, forecast in zip(panel.series, rows, forecasts, strict=True):
        stamps = series.index.append(panel.future(series.index, horizon))
        values = np.concatenate([series.values, np.full((horizon, series.values.shape[1]), np.nan, np.float32)])
        steps = own[:, None] + np.arange(1, horizon + 1)  # (W, H)
        channels, size = len(panel.channels), steps.size
        frames.append(
            pd.DataFrame(
                {
                    ID: np.full(channels * size, series.name, dtype=object),
                    "channel": np.repeat(np.array(panel.channels, dtype=object), size),
                    "cutoff": stamps[np.tile(np.repeat(own, horizon), channels)],
                    TIME: stamps[np.tile(steps.ravel(), channels)],
                    "y": np.moveaxis(values[steps], -1, 0).ravel(),
                    "forecast": np.moveaxis(forecast, -1, 0).ravel(),
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    frame = frame.astype({ID: "str", "channel": "str"})
    return frame if panel.layout == "long" else frame.drop(columns=ID)


def shown(items: Any, label: str, wanted: bool) -> Iterable[Any]:
    """The items, with a bar on standard error while they are worked on."""
    return track(items, label, console=Console(stderr=True), disable=not wanted, transient=True)
