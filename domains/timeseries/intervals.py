"""Quantiles and intervals as frames. Axes: S series, C channels, H horizon, Q quantile levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.fitting import levels_of
from titans_seq.errors import DataError

if TYPE_CHECKING:
    from titans_seq.domains.timeseries.forecaster import TitansForecaster


def quantile_frame(model: TitansForecaster, alpha: float | Sequence[float], X: pd.DataFrame | None) -> pd.DataFrame:
    """See `TitansForecaster.predict_quantiles`."""
    wanted = _shares(alpha, "alpha")
    rising = sorted(wanted)
    levels = model.network_.config.levels
    if model.quantiles is None:
        calibration = _calibration(model)
        middle = model.scaled_forecast(X)
        errors = [torch.from_numpy(calibration.quantile(a)) for a in rising]
        values = torch.stack([middle[..., 0] + e for e in errors], -1)
    else:
        outside = [a for a in wanted if not levels[0] <= a <= levels[-1]]
        if outside:
            raise DataError(
                f"alpha {outside[0]:g} lies outside of the quantiles {levels[0]:g} to {levels[-1]:g} of fit"
            )
        values = levels_of(model.scaled_forecast(X), levels, rising)
        values = values.cummax(-1).values  # two levels may lie closer than float32 can tell
    values = values[..., [rising.index(a) for a in wanted]]
    return _frame(model, values, [wanted], [f"q{a:g}" for a in wanted])


def interval_frame(model: TitansForecaster, coverage: float | Sequence[float], X: pd.DataFrame | None) -> pd.DataFrame:
    """See `TitansForecaster.predict_interval`."""
    wanted = _shares(coverage, "coverage")
    calibration = _calibration(model)
    forecast = model.scaled_forecast(X)
    ends = [end for share in wanted for end in calibration.band(forecast, share)]
    suffixes = [f"{end}-{100 * share:g}" for share in wanted for end in ("lo", "hi")]
    return _frame(model, torch.stack(ends, -1), [wanted, ["lower", "upper"]], suffixes)


def _frame(
    model: TitansForecaster, values: Tensor, labels: Sequence[Sequence[float | str]], suffixes: Sequence[str]
) -> pd.DataFrame:
    """Several forecasts a channel, (S, C, H, K) in units of each series' scale, in the layout of `predict`.

    Args:
        labels: further levels of a wide frame's columns, whose product has K entries.
        suffixes: what K columns of a long frame have behind the channel's name.
    """
    panel, scaling = model.panel_, model.scaling_
    columns: pd.Index = pd.Index([f"{channel}-{suffix}" for channel in panel.channels for suffix in suffixes])
    if panel.layout == "wide":
        columns = pd.MultiIndex.from_product([panel.channels, *labels])
    values = values * scaling.scale[..., None, None] + scaling.mean[..., None, None]
    stamps = [panel.future(s.index, model.horizon) for s in panel.series]
    found = values.movedim(2, 1).flatten(2).numpy()
    return panel.frame([s.name for s in panel.series], stamps, list(found), columns)


def _shares(values: float | Sequence[float], name: str) -> list[float]:
    try:
        shares = [float(v) for v in np.atleast_1d(np.asarray(values, dtype=float))]
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be numbers between 0 and 1, not {values!r}") from error
    if not shares or not all(0 < s < 1 for s in shares) or len(set(shares)) < len(shares):
        raise DataError(f"{name} must be different numbers between 0 and 1, not {values!r}")
    return shares


def _calibration(model: TitansForecaster) -> Calibration:
    if model.calibration_ is None:
        raise DataError(
            "the model has no held-back windows to calibrate by: its history was too short, or fit did not end"
        )
    return model.calibration_
