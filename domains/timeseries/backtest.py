"""Forecast from many places of a history at once. Axes: W windows, T steps, C channels, L look-back, H horizon."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from titans_seq.domains.timeseries.covariates import Covariates, CovariateValues, measure_scale, read_values
from titans_seq.domains.timeseries.inputs import ForecastState
from titans_seq.domains.timeseries.observe import align_to_grid
from titans_seq.domains.timeseries.panel import ID, TIME, Panel, Series
from titans_seq.domains.timeseries.stamps import to_stamps
from titans_seq.errors import DataError, reason
from titans_seq.progress import show_progress
from titans_seq.validation import check_whole

Rows = NDArray[np.int64]
"""The last row of a series that each forecast sees."""
Refit = Callable[[Panel, Covariates | None, CovariateValues], ForecastState]
"""Fits a fresh model of the same parameters to a history."""


def backtest_frame(
    state: ForecastState,
    y: pd.DataFrame,
    X: pd.DataFrame | None,
    cutoffs: Iterable[Any] | None,
    *,
    stride: int | None,
    n_windows: int | None,
    refit: Refit | None,
    verbose: bool,
) -> pd.DataFrame:
    """Return forecasts made at earlier times beside what came; see `TitansForecaster.backtest`.

    Args:
        refit: fits the model anew at each cutoff; None: the fitted network forecasts from all of them.
    """
    options = {name: value for name, value in (("stride", stride), ("n_windows", n_windows)) if value is not None}
    check_whole(1, **options)
    if options and cutoffs is not None:
        raise DataError(f"{next(iter(options))} and cutoffs cannot both be given")
    panel, horizon = align_to_grid(state.panel, y), state.config.horizon
    if cutoffs is None:
        rows = cutoff_rows(panel, state.context, horizon, stride or horizon, n_windows)
    else:
        rows = find_rows(panel, cutoffs)
    values = read_values(X, panel, state.covariates, horizon)
    if refit is None:
        forecasts = forecast_rows(state, panel, rows, values, verbose)
    else:
        forecasts = refit_and_forecast(state, panel, rows, values, refit, verbose)
    return _to_frame(panel, rows, forecasts, horizon)


def cutoff_rows(panel: Panel, context: int, horizon: int, stride: int, n_windows: int | None) -> list[Rows]:
    """Return the last `n_windows` places, `stride` apart, with `context` rows up to them and `horizon` rows behind."""
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


def find_rows(panel: Panel, cutoffs: Iterable[Any]) -> list[Rows]:
    """Return the rows of these stamps, in each series that has them.

    Raises:
        DataError: not a stamp, or one that no series has.
    """
    zone = panel.series[0].index.tz
    try:
        stamps = to_stamps(pd.Index(list(cutoffs))).unique().sort_values()
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
        raise DataError(f"cutoff {panel.label(stamps[int(nowhere.argmax())])} is a step of no series")
    return [np.asarray(rows[rows >= 0], dtype=np.int64) for rows in places]


def forecast_rows(
    state: ForecastState,
    panel: Panel,
    rows: list[Rows],
    values: CovariateValues | None,
    verbose: bool = False,
    goes_on: Sequence[bool] | None = None,
) -> list[NDArray[np.float32]]:
    """Return the forecasts made at these rows, each from all up to it: (W, H, C) per series in its own units.

    Args:
        goes_on: whether each series begins with the steps that the model keeps of it; None: all are read from the
            start.
    """
    found = []
    scaling = state.scaling_for(panel)
    for place in show_progress(range(len(rows)), "backtest", verbose and len(rows) > 1):
        alone, own = panel.only(place), None if values is None else [values[place]]
        start = state.own_stream(panel.names[place]) if goes_on is not None and goes_on[place] else None
        forecast = state.middle_at(alone, own, torch.from_numpy(rows[place] + 1), start)
        forecast = forecast * scaling.scale[place].unsqueeze(-1) + scaling.mean[place].unsqueeze(-1)
        found.append(forecast.mT.numpy())
    return found


def refit_and_forecast(
    state: ForecastState,
    panel: Panel,
    rows: list[Rows],
    values: CovariateValues | None,
    refit: Refit,
    verbose: bool = False,
) -> list[NDArray[np.float32]]:
    """Return `forecast_rows` by a model of the same parameters that is fitted anew on what lies before each cutoff."""
    stamps = sorted({stamp for s, own in zip(panel.series, rows, strict=True) for stamp in s.index[own]})
    shape = (0, state.config.horizon, len(panel.channels))
    found = [[np.zeros(shape, np.float32)] for _ in panel.series]
    for stamp in show_progress(stamps, "backtest, fitting anew", verbose):
        lengths = [int((s.index <= stamp).sum()) for s in panel.series]
        begun = [i for i, length in enumerate(lengths) if length]
        cut = [Series(s.name, s.index[:n], s.values[:n]) for s, n in zip(panel.series, lengths, strict=True) if n]
        before = replace(panel, series=cut)
        covariates, known = None, CovariateValues()
        if state.covariates is not None and values is not None:
            known = [values[i] for i in begun]
            covariates = replace(state.covariates, scaling=measure_scale(before, known))
        fresh = refit(before, covariates, known)
        at = [i for i in begun if stamp in panel.series[i].index[rows[i]]]
        some = replace(panel, series=[panel.series[i] for i in at])
        ends = [np.array([lengths[i] - 1], dtype=np.int64) for i in at]
        forecasts = forecast_rows(fresh, some, ends, None if values is None else [values[i] for i in at])
        for i, forecast in zip(at, forecasts, strict=True):
            found[i].append(forecast)
    return [np.concatenate(f) for f in found]


def squared_error(state: ForecastState, y: pd.DataFrame, X: pd.DataFrame | None) -> float:
    """Return the mean squared error over all windows of y, standardised; see `TitansForecaster.score`.

    Raises:
        DataError: the frame does not fit the model, or no window holds an observed target.
    """
    context, horizon = state.context, state.config.horizon
    panel = align_to_grid(state.panel, y)
    panel, values, rows, goes_on = _rows_to_score(state, panel, read_values(X, panel, state.covariates, horizon))
    if not any(len(own) for own in rows):
        raise DataError(f"no window of context {context} + horizon {horizon} to score")
    errors = []
    forecasts = forecast_rows(state, panel, rows, values, goes_on=goes_on)
    for series, own, forecast, scale in zip(panel.series, rows, forecasts, state.scaling_for(panel).scale, strict=True):
        padded = np.pad(series.values, ((0, horizon), (0, 0)), constant_values=np.nan)
        target = padded[own[:, None] + np.arange(1, horizon + 1)]
        errors.append(((forecast - target) / scale.numpy()).ravel().astype(np.float64))
    error = np.concatenate(errors)
    if not np.isfinite(error).any():
        raise DataError("no target of any window is observed: nothing to score")
    return float(np.nanmean(error**2))


def _rows_to_score(
    state: ForecastState, panel: Panel, values: CovariateValues | None
) -> tuple[Panel, CovariateValues | None, list[Rows], list[bool]]:
    """Return a panel, its covariates, the rows to forecast from, and which series go on where the model's end.

    The rows have a context before and a horizon behind them. A series that goes on is joined to what the model keeps
    of it, and is scored from its own first step on.
    """
    context, horizon = state.context, state.config.horizon
    ends = {s.name: (s, place) for place, s in enumerate(state.panel.series)}
    joined, known, rows, goes_on = [], [], [], []
    for place, series in enumerate(panel.series):
        end, end_place = ends[series.name]
        own = None if values is None else values[place]
        first, stop = context, len(series.index) - horizon  # row of the first target, and behind the last to see
        goes_on.append(bool(series.index[0] == end.index[-1] + panel.freq))
        if goes_on[-1]:
            index = pd.DatetimeIndex(end.index.append(series.index))
            series = Series(series.name, index, np.concatenate([end.values, series.values]))
            own = None if own is None else np.concatenate([state.covariate_values[end_place], own])
            first = len(end.index)
            stop = max(len(index) - horizon, first)  # at least one window, whose end may be missing
        joined.append(series)
        known.append(own)
        rows.append(np.arange(first - 1, stop, dtype=np.int64))
    panel = replace(panel, series=joined)
    return panel, None if values is None else [own for own in known if own is not None], rows, goes_on


def _to_frame(panel: Panel, rows: list[Rows], forecasts: list[NDArray[np.float32]], horizon: int) -> pd.DataFrame:
    """Return one row per series, channel, cutoff and step; the target is NaN where it is missing or not known yet."""
    frames = []
    for series, own, forecast in zip(panel.series, rows, forecasts, strict=True):
        stamps = panel.index(pd.DatetimeIndex(series.index.append(panel.future(series.index, horizon))))
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
