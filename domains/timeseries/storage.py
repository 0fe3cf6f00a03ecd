"""Convert a fitted forecaster to plain values and tensors, and back.

Axes: S series, C channels, T steps kept, G groups, L look-back, H horizon, K covariates.
"""

import math
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from pandas.tseries.frequencies import to_offset
from pydantic import Field
from torch import Tensor

from titans_seq.backbone import BackboneState, TitansBackbone
from titans_seq.domains.timeseries.calendars import CALENDAR
from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.covariates import Covariates, CovariateValues
from titans_seq.domains.timeseries.inputs import ForecastState
from titans_seq.domains.timeseries.linear import LinearConfig, LinearMemory, Moments
from titans_seq.domains.timeseries.network import ForecastConfig
from titans_seq.domains.timeseries.panel import Panel, Series
from titans_seq.domains.timeseries.prepare import Scaling
from titans_seq.domains.timeseries.prepare import to_tensors as to_rows
from titans_seq.domains.timeseries.stamps import TIMES, check_kind
from titans_seq.domains.timeseries.static import Static, check_static
from titans_seq.domains.timeseries.stream import Stream
from titans_seq.domains.timeseries.tokens import pad_front
from titans_seq.shapes import shapes_only
from titans_seq.state import check_state, template
from titans_seq.stored import Stored
from titans_seq.validation import check_stored

Count = Annotated[int, Field(ge=0)]
BACKBONE = "stream."
"""Prefix of the backbone's state among the tensors."""
MAY_MISS = ("past", "covariates", "calibration")
"""Tensors whose NaN are missing values."""
MOMENTS = ("gram", "cross", "count")


class StoredSeries(Stored):
    """The end of a series in a saved model."""

    name: str
    last: str
    steps: int


class StoredCovariates(Stored):
    """Names of the covariates in a saved model."""

    past: tuple[str, ...]
    future: tuple[str, ...]
    levels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    static: tuple[str, ...] = ()
    static_values: dict[str, tuple[float | None, ...]] | None = None


class FittedForecaster(Stored):
    """What `TitansForecaster.fit` learned beside tensors, in a saved model."""

    channels: list[str]
    layout: Literal["wide", "long"]
    freq: str
    index_name: str | int | None
    timezone: str | None
    series: list[StoredSeries]
    calendar: tuple[str, ...]
    kind: str = TIMES
    columns: list[str | int | list[str | int]] | None = None
    column_names: tuple[str | int | None, ...] = ()
    patch: int
    linear: dict[str, bool | int | float | str | None]
    written: Count
    covariates: StoredCovariates | None = None


def to_config(state: ForecastState) -> dict[str, Any]:
    """Return the plain values of a fitted forecaster, for config.json."""
    panel, linear = state.panel, asdict(state.stream.linear.config)
    config: dict[str, Any] = {
        "channels": panel.channels,
        "layout": panel.layout,
        "freq": panel.freq.freqstr,
        "index_name": panel.series[0].index.name,
        "timezone": str(panel.series[0].index.tz) if panel.series[0].index.tz is not None else None,
        "series": [{"name": s.name, "last": s.index[-1].isoformat(), "steps": len(s.index)} for s in panel.series],
        "calendar": state.calendar,
        "kind": panel.kind,
        "patch": state.config.patch,
        "linear": linear | {"penalty": None if math.isinf(linear["penalty"]) else linear["penalty"]},
        "written": state.stream.written,
    }
    if panel.columns is not None:
        config["columns"] = [[_plain(p) for p in c] if isinstance(c, tuple) else _plain(c) for c in panel.columns]
        config["column_names"] = [None if n is None else _plain(n) for n in panel.columns.names]
    covariates = state.covariates
    if covariates is not None:
        static = covariates.static
        config["covariates"] = {
            "past": covariates.past,
            "future": covariates.future,
            "levels": covariates.levels,
            "static": static.names,
            "static_values": None
            if static.values is None
            else {name: [None if math.isnan(v) else v for v in own] for name, own in static.values.items()},
        }
    return config


def to_tensors(state: ForecastState) -> dict[str, Tensor]:
    """Return the tensors that the next forecast is made from."""
    steps, stream = max(len(s.index) for s in state.panel.series), state.stream
    tensors = {
        "past": torch.stack([pad_front(v, steps) for v in to_rows(state.panel)]),
        "mean": state.scaling.mean,
        "scale": state.scaling.scale,
        "offsets": state.offsets,
        "tokens": stream.tokens,
        "weights": stream.weights,
    }
    tensors |= {name: getattr(stream.linear.moments, name) for name in MOMENTS}
    if stream.backbone is not None:
        tensors |= {BACKBONE + name: tensor for name, tensor in stream.backbone.named_tensors()}
    if state.calibration is not None:
        tensors["calibration"] = state.calibration.errors
    if state.covariates is not None:
        scaling = state.covariates.scaling
        tensors |= {"covariate_mean": scaling.mean, "covariate_scale": scaling.scale}
        values = [pad_front(torch.from_numpy(v), steps) for v in state.covariate_values]
        tensors["covariates"] = torch.stack(values)
    return tensors


def from_saved(
    config: ForecastConfig, fitted: FittedForecaster, tensors: dict[str, Tensor]
) -> tuple[ForecastConfig, dict[str, Any]]:
    """Return the configuration of the network and the attributes of the forecaster that was saved.

    Args:
        config: what the parameters describe.
        fitted, tensors: what `to_config` and `to_tensors` returned, from a file.

    Raises:
        ValueError, LookupError, TypeError: they do not fit together.
    """
    whole = ("offsets", "tokens")
    for name, tensor in tensors.items():
        if name in whole and tensor.dtype != torch.int64:
            raise ValueError(f"{name} holds no whole numbers")
        is_counter = name in whole or (name.startswith(BACKBONE) and tensor.dtype == torch.int64)
        if not is_counter and tensor.dtype != torch.float32:
            raise ValueError(f"{name} is not float32")
        if bool((torch.isinf(tensor) if name in MAY_MISS else ~torch.isfinite(tensor)).any()):
            raise ValueError(f"{name} holds {'' if name in MAY_MISS else 'NaN or '}infinite values")
    covariates, values = _read_covariates(fitted, tensors)
    calendar = fitted.calendar
    unknown = [name for name in calendar if name not in CALENDAR]
    if unknown:
        raise ValueError(f"unknown calendar features: {', '.join(map(str, unknown))}")
    panel = _read_panel(fitted, tensors["past"])
    linear: dict[str, Any] = dict(fitted.linear)
    rules = LinearConfig(**linear | {"penalty": math.inf if linear["penalty"] is None else linear["penalty"]})
    if (rules.horizon, config.context or rules.context) != (config.horizon, rules.context):
        raise ValueError("the linear memory is of another horizon or look-back")
    config = replace(
        config,
        context=rules.context,
        patch=fitted.patch,
        channels=len(panel.channels),
        past_features=0 if covariates is None else len(covariates.past),
        future_features=0 if covariates is None else len(covariates.future),
        calendar_features=2 * len(calendar),
    )
    series, channels = len(panel.series), len(panel.channels)
    expected = (series, channels)
    scaling = Scaling(tensors["mean"], tensors["scale"])
    if scaling.mean.shape != expected or scaling.scale.shape != expected:
        raise ValueError(f"the scaling is {tuple(scaling.mean.shape)}, expected {expected}")
    if bool((scaling.scale <= 0).any()):
        raise ValueError("a scale is not positive")
    calibration = None
    if "calibration" in tensors:
        calibration = Calibration(tensors["calibration"], config.levels)
        calibration.check(len(panel.channels), config.horizon)
    if covariates is not None and tuple(tensors["covariates"].shape[:2]) != tuple(tensors["past"].shape[:2]):
        raise ValueError(f"the covariates are {tuple(tensors['covariates'].shape)}")
    offsets = tensors["offsets"]
    if offsets.shape != expected[:1] or bool((offsets < 0).any()):
        raise ValueError("offsets are not one whole number for each series")
    return config, {
        "panel_": panel,
        "offsets_": offsets,
        "stream_": _read_stream(config, rules, fitted, tensors, (series, channels)),
        "scaling_": scaling,
        "calibration_": calibration,
        "covariates_": covariates,
        "covariate_values_": values,
        "calendar_": calendar,
    }


def _read_stream(
    config: ForecastConfig,
    rules: LinearConfig,
    fitted: FittedForecaster,
    tensors: dict[str, Tensor],
    expected: tuple[int, int],
) -> Stream:
    """Return what the memories of a saved model know, of so many series and channels."""
    series, channels = expected
    groups = rules.groups(channels)
    shape = (groups, rules.key_size(channels) + 1, rules.horizon)
    if tensors["weights"].shape != shape:
        raise ValueError(f"the linear memory's weights are {tuple(tensors['weights'].shape)}, expected {shape}")
    moments = Moments(*(tensors[name] for name in MOMENTS))
    known = channels if rules.sharing is not None else 1
    like = Moments.zeros(known if rules.learns else 0, rules.key_size(channels), rules.horizon)
    for name in MOMENTS:
        if getattr(moments, name).shape != getattr(like, name).shape:
            raise ValueError(f"the linear memory's {name} is {tuple(getattr(moments, name).shape)}")
    seen = tensors["offsets"] + torch.tensor([s.steps for s in fitted.series])
    read = tensors["tokens"] * fitted.patch
    if (
        tensors["tokens"].shape != (series,)
        or bool(((read < tensors["offsets"]) | (read >= seen)).any())
        or fitted.written > int(seen.max())
    ):
        raise ValueError("the tokens read are not those of the steps known")
    backbone = None
    found = {n.removeprefix(BACKBONE): t for n, t in tensors.items() if n.startswith(BACKBONE)}
    if found:
        check_stored(found)
        with shapes_only():
            state = TitansBackbone(config.backbone).initial_state(1)
            expected_shapes = template(state)
            names = [name for name, _ in state.named_tensors()]
        if set(names) != set(found):
            raise ValueError("the stream's state is of another network")
        backbone = state.replace_tensors([found[name] for name in names])
        assert isinstance(backbone, BackboneState)
        check_state(backbone, expected_shapes, series * channels)
        backbone.check_counters()
    linear = LinearMemory(rules, moments)
    return Stream(backbone, tensors["tokens"], linear, fitted.written, tensors["weights"])


def _read_panel(fitted: FittedForecaster, past: Tensor) -> Panel:
    """Return the ends of the series of a saved model, past (S, T, C), with their stamps."""
    freq, channels = to_offset(fitted.freq), fitted.channels
    names = [s.name for s in fitted.series]
    if not names or len(set(names)) != len(names) or not channels or len(set(channels)) != len(channels):
        raise ValueError("the names of series or channels are not distinct")
    if past.ndim != 3 or (past.shape[0], past.shape[2]) != (len(names), len(channels)):
        raise ValueError(
            f"the history is {tuple(past.shape)}, expected {len(names)} series of {len(channels)} channels"
        )
    ends = []
    for stored, values in zip(fitted.series, past.numpy(), strict=True):
        if not 1 <= stored.steps <= len(values):
            raise ValueError(f"series {stored.name!r} has {stored.steps} steps of {len(values)}")
        last = pd.Timestamp(stored.last)
        if fitted.timezone is not None:
            last = last.tz_convert(fitted.timezone)
        index = pd.date_range(end=last, periods=stored.steps, freq=freq, name=fitted.index_name)
        ends.append(Series(stored.name, index, values[-stored.steps :]))
    check_kind(fitted.kind)
    return Panel(ends, channels, freq, fitted.layout, fitted.kind, _read_columns(fitted))


def _plain(label: Any) -> str | int:
    """Return a user's name of a column as a file can hold it: a whole number, or text."""
    return int(label) if isinstance(label, int | np.integer) and not isinstance(label, bool) else str(label)


def _read_columns(fitted: FittedForecaster) -> pd.Index | None:
    """Return the user's names of the channels of a saved model."""
    if fitted.columns is None:
        return None
    nested = [isinstance(c, list) for c in fitted.columns]
    names = fitted.column_names
    if any(nested):
        rows = [tuple(c) for c in fitted.columns if isinstance(c, list)]
        sizes = {len(c) for c in rows}
        if not all(nested) or sizes != {len(names)} or len(rows) != len(fitted.channels):
            raise ValueError("the names of the columns do not fit the channels")
        return pd.MultiIndex.from_tuples(rows, names=names)
    if len(names) != 1 or len(fitted.columns) != len(fitted.channels):
        raise ValueError("the names of the columns do not fit the channels")
    return pd.Index(fitted.columns, name=names[0])


def _read_covariates(fitted: FittedForecaster, tensors: dict[str, Tensor]) -> tuple[Covariates | None, CovariateValues]:
    """Return the covariates of a saved model, and their values at the ends of the series."""
    if fitted.covariates is None:
        return None, []
    stored, numbers = fitted.covariates, fitted.covariates.static_values
    own = None if numbers is None else {n: tuple(math.nan if v is None else v for v in of) for n, of in numbers.items()}
    static = Static(stored.static, own)
    check_static(static, [s.name for s in fitted.series])
    scaling = Scaling(tensors["covariate_mean"], tensors["covariate_scale"])
    covariates = Covariates(stored.past, stored.future, scaling, stored.levels, static)
    place = len(stored.past) - len(static.names)
    if place < 0 or stored.past[place:] != static.names:
        raise ValueError("the static covariates are not the last of those that are known in the past only")
    values, size = tensors["covariates"], len(covariates.names)
    if (
        values.ndim != 3
        or values.shape[2] != size
        or any(t.shape != (1, size) for t in (covariates.scaling.mean, covariates.scaling.scale))
    ):
        raise ValueError(f"the covariates are {tuple(values.shape)}, expected {size} of them")
    steps = [s.steps for s in fitted.series]
    return covariates, [own[-n:] for own, n in zip(values.numpy(), steps, strict=True)]
