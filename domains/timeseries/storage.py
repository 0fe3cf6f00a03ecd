"""A fitted forecaster as a folder, and back. Axes: S series, C channels, L look-back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from pandas.tseries.frequencies import to_offset
from torch import Tensor

from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.covariates import CALENDAR, Covariates, Known, with_covariates
from titans_seq.domains.timeseries.inputs import in_front, past_of
from titans_seq.domains.timeseries.network import ForecastNetwork
from titans_seq.domains.timeseries.panel import Panel, Series
from titans_seq.domains.timeseries.prepare import Scaling
from titans_seq.saving import build_network, load_folder, save_folder, translate_load_errors
from titans_seq.training import History

if TYPE_CHECKING:
    from titans_seq.domains.timeseries.forecaster import TitansForecaster


def save(model: TitansForecaster, folder: str | os.PathLike[str]) -> Path:
    """Write config.json and model.safetensors, what the next forecast is made from among them."""
    panel = model.panel_
    config = {
        "parameters": model.get_params(),
        "channels": panel.channels,
        "layout": panel.layout,
        "freq": panel.freq.freqstr,
        "index_name": panel.series[0].index.name,
        "timezone": str(panel.series[0].index.tz) if panel.series[0].index.tz is not None else None,
        "series": [{"name": s.name, "last": s.index[-1].isoformat()} for s in panel.series],
        "training": model.history_.to_dict(),
    }
    tensors = {f"network.{name}": t for name, t in model.network_.state_dict().items()}
    tensors |= {"past": past_of(panel, model.context), "mean": model.scaling_.mean, "scale": model.scaling_.scale}
    if model.calibration_ is not None:
        tensors["calibration"] = model.calibration_.errors
    beside = model.covariates_
    if beside is not None:
        config["covariates"] = {"past": beside.past, "future": beside.future, "calendar": beside.calendar}
        tensors |= {"covariate_mean": beside.scaling.mean, "covariate_scale": beside.scaling.scale}
        tensors["covariates"] = torch.stack([in_front(torch.from_numpy(k), model.context) for k in model.known_])
    return save_folder(folder, type(model).__name__, config, tensors)


def restore(model_type: type[TitansForecaster], folder: str | os.PathLike[str]) -> TitansForecaster:
    """Read what `save` wrote; nothing in the folder is executed.

    Raises:
        ModelError: there is no such model, or it is damaged.
    """
    config, weights = load_folder(folder, model_type.__name__)
    with translate_load_errors(folder):
        model = model_type(**config["parameters"])
        network_config, _ = model.check()
        if any(t.dtype != torch.float32 for t in weights.values()):
            raise ValueError("its tensors are not all float32")
        beside, known = _stored_covariates(config, weights)
        if beside is not None:
            network_config = with_covariates(network_config, beside, len(config["channels"]))
        own = {n.removeprefix("network."): t for n, t in weights.items() if n.startswith("network.")}
        network = build_network(lambda: ForecastNetwork(network_config), own)
        scaling = Scaling(weights["mean"], weights["scale"])
        panel = _stored_panel(config, weights["past"])
        expected = (len(panel.series), len(panel.channels))
        if scaling.mean.shape != expected or scaling.scale.shape != expected:
            raise ValueError(f"the scaling is {tuple(scaling.mean.shape)}, expected {expected}")
        calibration = None
        if "calibration" in weights:
            calibration = Calibration(weights["calibration"], network_config.levels)
            calibration.check(len(panel.channels), network_config.horizon)
        if beside is not None and tuple(weights["covariates"].shape[:2]) != tuple(weights["past"].shape[:2]):
            raise ValueError(f"the covariates are {tuple(weights['covariates'].shape)}")
        history = History.from_dict(config["training"])
    model.network_, model.history_, model.calibration_ = network, history, calibration
    model.panel_, model.scaling_ = panel, scaling
    model.covariates_, model.known_ = beside, known
    return model


def _stored_panel(config: dict[str, Any], past: Tensor) -> Panel:
    """The ends of the series of a saved model, past (S, L, C), with their stamps."""
    freq = to_offset(str(config["freq"]))
    names, channels = [s["name"] for s in config["series"]], list(config["channels"])
    if past.ndim != 3 or (past.shape[0], past.shape[2]) != (len(names), len(channels)) or past.dtype != torch.float32:
        raise ValueError(
            f"the history is {tuple(past.shape)}, expected {len(names)} series of {len(channels)} channels"
        )
    ends = []
    for stored, values in zip(config["series"], past.numpy(), strict=True):
        last = pd.Timestamp(stored["last"]).tz_convert(config["timezone"]) if config["timezone"] else stored["last"]
        index = pd.date_range(end=last, periods=len(values), freq=freq, name=config["index_name"])
        ends.append(Series(stored["name"], index, values))
    return Panel(ends, channels, freq, "long" if config["layout"] == "long" else "wide")


def _stored_covariates(config: dict[str, Any], weights: dict[str, Tensor]) -> tuple[Covariates | None, Known]:
    if "covariates" not in config:
        return None, []
    parts = {part: tuple(config["covariates"][part]) for part in ("past", "future", "calendar")}
    if not all(isinstance(name, str) for names in parts.values() for name in names):
        raise ValueError("the covariates' names are not text")
    unknown = set(parts["calendar"]) - set(CALENDAR)
    if unknown:
        raise ValueError(f"unknown calendar features: {', '.join(sorted(unknown))}")
    beside = Covariates(**parts, scaling=Scaling(weights["covariate_mean"], weights["covariate_scale"]))
    values, size = weights["covariates"], len(beside.names)
    if (
        values.ndim != 3
        or values.shape[2] != size
        or any(t.shape != (1, size) for t in (beside.scaling.mean, beside.scaling.scale))
    ):
        raise ValueError(f"the covariates are {tuple(values.shape)}, expected {size} of them")
    return beside, list(values.numpy())
