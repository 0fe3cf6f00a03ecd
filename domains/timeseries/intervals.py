"""Quantiles and intervals of a forecast as frames. Axes: S series, C channels, H horizon, Q quantile levels."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.inputs import ForecastState
from titans_seq.domains.timeseries.levels import interpolate_levels
from titans_seq.errors import DataError


def quantile_frame(state: ForecastState, alpha: float | Sequence[float], X: pd.DataFrame | None) -> pd.DataFrame:
    """Return quantiles in the layout of `predict`; see `TitansForecaster.predict_quantiles`."""
    wanted = _parse_shares(alpha, "alpha")
    rising = sorted(wanted)
    levels = state.config.levels
    if state.config.quantiles is None:
        calibration = need_calibration(state)
        middle = state.scaled_quantiles(X)
        errors = [torch.from_numpy(calibration.quantile(a)) for a in rising]
        values = torch.stack([middle[..., 0] + e for e in errors], -1)
    else:
        outside = [a for a in wanted if not levels[0] <= a <= levels[-1]]
        if outside:
            raise DataError(
                f"alpha {outside[0]:g} lies outside of the quantiles {levels[0]:g} to {levels[-1]:g} of fit"
            )
        values = interpolate_levels(state.scaled_quantiles(X), levels, rising)
        values = values.cummax(-1).values  # two levels may lie closer than float32 can tell
    values = values[..., [rising.index(a) for a in wanted]]
    return to_layout(state, values, [wanted], [f"q{a:g}" for a in wanted])


def interval_frame(state: ForecastState, coverage: float | Sequence[float], X: pd.DataFrame | None) -> pd.DataFrame:
    """Return intervals in the layout of `predict`; see `TitansForecaster.predict_interval`."""
    wanted = _parse_shares(coverage, "coverage")
    calibration = need_calibration(state)
    forecast = state.scaled_quantiles(X)
    ends = [end for share in wanted for end in calibration.band(forecast, share)]
    suffixes = [f"{end}-{100 * share:g}" for share in wanted for end in ("lo", "hi")]
    return to_layout(state, torch.stack(ends, -1), [wanted, ["lower", "upper"]], suffixes)


def to_layout(
    state: ForecastState, values: Tensor, labels: Sequence[Sequence[int | float | str]], suffixes: Sequence[str]
) -> pd.DataFrame:
    """Return several forecasts a channel, (S, C, H, K) in units of each series' scale, in the layout of `predict`.

    Args:
        labels: further levels of a wide frame's columns, whose product has K entries.
        suffixes: what K columns of a long frame have behind the channel's name.
    """
    panel, scaling = state.panel, state.scaling
    columns: pd.Index = pd.Index([f"{channel}-{suffix}" for channel in panel.channels for suffix in suffixes])
    if panel.layout == "wide":
        own = panel.channels if panel.columns is None else list(panel.columns)
        parts = [c if isinstance(c, tuple) else (c,) for c in own]
        columns = pd.MultiIndex.from_tuples([(*p, *more) for p in parts for more in product(*labels)])
    values = values * scaling.scale[..., None, None] + scaling.mean[..., None, None]
    stamps = [panel.future(s.index, state.config.horizon) for s in panel.series]
    found = values.movedim(2, 1).flatten(2).numpy()
    return panel.frame(panel.names, stamps, list(found), columns)


def _parse_shares(values: float | Sequence[float], name: str) -> list[float]:
    """Return different numbers between 0 and 1; DataError, which names the argument, for anything else."""
    try:
        shares = [float(v) for v in np.atleast_1d(np.asarray(values, dtype=float))]
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be numbers between 0 and 1, not {values!r}") from error
    if not shares or not all(0 < s < 1 for s in shares) or len(set(shares)) < len(shares):
        raise DataError(f"{name} must be different numbers between 0 and 1, not {values!r}")
    return shares


def need_calibration(state: ForecastState) -> Calibration:
    """Return the calibration of a model; DataError if it has none."""
    if state.calibration is None:
        raise DataError(
            "the model has no held-back windows to calibrate by: its history was too short, or fit did not end"
        )
    return state.calibration
