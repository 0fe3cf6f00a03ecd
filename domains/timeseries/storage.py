"""Convert a fitted forecaster to plain values and tensors, and back.

Axes: S series, C channels, L look-back, K covariates.
"""

from typing import Any

import pandas as pd
import torch
from pandas.tseries.frequencies import to_offset
from torch import Tensor

from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.covariates import CALENDAR, Covariates, CovariateValues, add_covariates
from titans_seq.domains.timeseries.inputs import ForecastState, pad_front, stack_ends
from titans_seq.domains.timeseries.network import ForecastConfig
from titans_seq.domains.timeseries.panel import Panel, Series
from titans_seq.domains.timeseries.prepare import Scaling


def to_config(state: ForecastState) -> dict[str, Any]:
    """Return the plain values of a fitted forecaster, for config.json."""
    panel = state.panel
    config: dict[str, Any] = {
        "channels": panel.channels,
        "layout": panel.layout,
        "freq": panel.freq.freqstr,
        "index_name": panel.series[0].index.name,
        "timezone": str(panel.series[0].index.tz) if panel.series[0].index.tz is not None else None,
        "series": [{"name": s.name, "last": s.index[-1].isoformat()} for s in panel.series],
    }
    covariates = state.covariates
    if covariates is not None:
        names = {"past": covariates.past, "future": covariates.future, "calendar": covariates.calendar}
        config["covariates"] = names
    return config


def to_tensors(state: ForecastState) -> dict[str, Tensor]:
    """Return the tensors that the next forecast is made from."""
    context = state.config.context
    tensors = {"past": stack_ends(state.panel, context), "mean": state.scaling.mean, "scale": state.scaling.scale}
    if state.calibration is not None:
        tensors["calibration"] = state.calibration.errors
    if state.covariates is not None:
        scaling = state.covariates.scaling
        tensors |= {"covariate_mean": scaling.mean, "covariate_scale": scaling.scale}
        values = [pad_front(torch.from_numpy(v), context) for v in state.covariate_values]
        tensors["covariates"] = torch.stack(values)
    return tensors


def from_saved(
    config: ForecastConfig, fitted: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[ForecastConfig, dict[str, Any]]:
    """Return the configuration of the network and the attributes of the forecaster that was saved.

    Args:
        config: what the parameters describe.
        fitted, tensors: what `to_config` and `to_tensors` returned, from a file.

    Raises:
        ValueError, LookupError, TypeError: they do not fit together.
    """
    if any(t.dtype != torch.float32 for t in tensors.values()):
        raise ValueError("its tensors are not all float32")
    covariates, values = _read_covariates(fitted, tensors)
    if covariates is not None:
        config = add_covariates(config, covariates, len(fitted["channels"]))
    scaling = Scaling(tensors["mean"], tensors["scale"])
    panel = _read_panel(fitted, tensors["past"])
    expected = (len(panel.series), len(panel.channels))
    if scaling.mean.shape != expected or scaling.scale.shape != expected:
        raise ValueError(f"the scaling is {tuple(scaling.mean.shape)}, expected {expected}")
    calibration = None
    if "calibration" in tensors:
        calibration = Calibration(tensors["calibration"], config.levels)
        calibration.check(len(panel.channels), config.horizon)
    if covariates is not None and tuple(tensors["covariates"].shape[:2]) != tuple(tensors["past"].shape[:2]):
        raise ValueError(f"the covariates are {tuple(tensors['covariates'].shape)}")
    return config, {
        "panel_": panel,
        "scaling_": scaling,
        "calibration_": calibration,
        "covariates_": covariates,
        "covariate_values_": values,
    }


def _read_panel(fitted: dict[str, Any], past: Tensor) -> Panel:
    """Return the ends of the series of a saved model, past (S, L, C), with their stamps."""
    freq = to_offset(str(fitted["freq"]))
    names, channels = [s["name"] for s in fitted["series"]], list(fitted["channels"])
    if past.ndim != 3 or (past.shape[0], past.shape[2]) != (len(names), len(channels)):
        raise ValueError(
            f"the history is {tuple(past.shape)}, expected {len(names)} series of {len(channels)} channels"
        )
    ends = []
    for stored, values in zip(fitted["series"], past.numpy(), strict=True):
        last = pd.Timestamp(stored["last"]).tz_convert(fitted["timezone"]) if fitted["timezone"] else stored["last"]
        index = pd.date_range(end=last, periods=len(values), freq=freq, name=fitted["index_name"])
        ends.append(Series(stored["name"], index, values))
    return Panel(ends, channels, freq, "long" if fitted["layout"] == "long" else "wide")


def _read_covariates(fitted: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Covariates | None, CovariateValues]:
    """Return the covariates of a saved model, and their values at the ends of the series."""
    if "covariates" not in fitted:
        return None, []
    parts = {part: tuple(fitted["covariates"][part]) for part in ("past", "future", "calendar")}
    if not all(isinstance(name, str) for names in parts.values() for name in names):
        raise ValueError("the covariates' names are not text")
    unknown = set(parts["calendar"]) - set(CALENDAR)
    if unknown:
        raise ValueError(f"unknown calendar features: {', '.join(sorted(unknown))}")
    covariates = Covariates(**parts, scaling=Scaling(tensors["covariate_mean"], tensors["covariate_scale"]))
    values, size = tensors["covariates"], len(covariates.names)
    if (
        values.ndim != 3
        or values.shape[2] != size
        or any(t.shape != (1, size) for t in (covariates.scaling.mean, covariates.scaling.scale))
    ):
        raise ValueError(f"the covariates are {tuple(values.shape)}, expected {size} of them")
    return covariates, list(values.numpy())
