"""The state of a fitted forecaster, and its forecast as tensors.

Axes: S series, C channels, W forecasts, H horizon, Q quantile levels, K covariates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from titans_seq.domains.timeseries.calendars import calendar_features
from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.covariates import (
    Covariates,
    CovariateValues,
    append_values,
    read_future,
    read_values,
)
from titans_seq.domains.timeseries.network import ForecastConfig, ForecastNetwork
from titans_seq.domains.timeseries.observe import append_rows, validate_new_rows
from titans_seq.domains.timeseries.panel import Panel, Series
from titans_seq.domains.timeseries.prepare import Scaling, to_tensors
from titans_seq.domains.timeseries.reading import Reader
from titans_seq.domains.timeseries.stream import Stream, Streamer
from titans_seq.domains.timeseries.tokens import Table
from titans_seq.validation import check_answer


@dataclass(frozen=True)
class ForecastState:
    """A fitted network, and what its next forecast is made from."""

    network: ForecastNetwork
    panel: Panel
    """Ends of the series, as long as a forecast needs them, or longer."""
    offsets: Tensor
    """(S,) long: steps of each series before those."""
    stream: Stream
    """What the memories know."""
    scaling: Scaling
    """Scale of each series and channel, from `fit`."""
    calibration: Calibration | None
    """Errors on the part of the history that validates."""
    covariates: Covariates | None
    covariate_values: CovariateValues
    """Values of the covariates at the ends of the series."""
    calendar: tuple[str, ...]
    """Features of the time stamps."""

    @property
    def config(self) -> ForecastConfig:
        """Return the configuration of the network."""
        return self.network.config

    @property
    def reader(self) -> Reader:
        """Return what makes tokens for the network."""
        return Reader(self.config, self.stream.linear.config)

    @property
    def context(self) -> int:
        """Return the look-back."""
        return self.stream.linear.config.context

    def scaling_for(self, panel: Panel) -> Scaling:
        """Return the scale of the series of another panel."""
        known = self.panel.names
        places = [known.index(s.name) for s in panel.series]
        return Scaling(self.scaling.mean[places], self.scaling.scale[places])

    def streamer(self, panel: Panel, values: CovariateValues | None, offsets: Tensor) -> Streamer:
        """Return what reads a panel of these series, and X's values if the model takes any."""
        series = self.scaling_for(panel).apply(to_tensors(panel))
        table = make_table(self.reader, series, panel, self.covariates, values or [], self.calendar)
        return Streamer(self.network, self.reader, table, offsets)

    def forecast_at(
        self, panel: Panel, values: CovariateValues | None, cutoffs: Sequence[Tensor], stream: Stream, offsets: Tensor
    ) -> list[Tensor]:
        """Return forecasts (W, C, H, Q) per series in units of its scale, as a stream makes them on its way.

        Args:
            cutoffs: per series, steps seen at each forecast, rising.
        """
        last = [int(own[-1]) if len(own) else 0 for own in cutoffs]
        return self.streamer(panel, values, offsets).run(stream, cutoffs, torch.tensor(last))[1]

    def middle_at(
        self, panel: Panel, values: CovariateValues | None, seen: Tensor, start: tuple[Stream, Tensor] | None = None
    ) -> Tensor:
        """Return the point forecasts (W, C, H) of a panel of one series, in units of its scale.

        Args:
            seen: (W,) rows of the panel that are seen at each, rising.
            start: what `own_stream` returned, if the panel begins with the steps that are kept; None: it is read anew.
        """
        stream, offset = start or (self.anew(panel), torch.zeros(1, dtype=torch.long))
        (levels,) = self.forecast_at(panel, values, [seen + offset], stream, offset)
        return levels[..., self.config.levels.index(0.5)]

    def scaled_quantiles(self, X: pd.DataFrame | None) -> Tensor:
        """Return the next forecast at each of the network's levels, (S, C, H, Q), in units of each series' scale.

        Raises:
            DataError: see `read_future` and `read_values`.
        """
        values: CovariateValues | None = None
        if self.covariates is None:
            read_values(X, self.panel, None, 0)
        else:
            ahead = read_future(X, self.panel, self.covariates, self.config.horizon)
            values = [np.concatenate(pair) for pair in zip(self.covariate_values, ahead, strict=True)]
        lengths = torch.tensor([len(s.index) for s in self.panel.series]) + self.offsets
        found = self.forecast_at(self.panel, values, list(lengths.split(1)), self.stream, self.offsets)
        return torch.cat(found)

    def quantiles(self, X: pd.DataFrame | None) -> Tensor:
        """Return the next forecast at each of the network's levels in the units of the data, (S, H, C, Q).

        Raises:
            NonFiniteError: a value is beyond float32.
        """
        scale, mean = self.scaling.scale[..., None, None], self.scaling.mean[..., None, None]
        found = (self.scaled_quantiles(X) * scale + mean).transpose(1, 2)
        check_answer(found, "the forecasts")
        return found

    def forecast(self, X: pd.DataFrame | None) -> Tensor:
        """Return the point forecast in the units of the data, (S, H, C)."""
        return self.quantiles(X)[..., self.config.levels.index(0.5)]

    def moved_on(self, y: pd.DataFrame, X: pd.DataFrame | None) -> Self:
        """Return the state behind new rows.

        Raises:
            DataError: see `TitansForecaster.update`.
        """
        new = validate_new_rows(self.panel, y)
        return self.with_rows(new, read_values(X, new, self.covariates, 0))

    def with_rows(self, new: Panel, values: CovariateValues | None) -> Self:
        """Return the state behind new rows, and X's values at them if the model takes any."""
        known = self.covariate_values
        if values is not None:
            known = append_values(known, self.panel, values, new)
        return replace(self, panel=append_rows(self.panel, new), covariate_values=known).read()

    def read(self) -> Self:
        """Return the same state with all rows read, and no more of them kept than later forecasts need."""
        lengths = torch.tensor([len(s.index) for s in self.panel.series])
        streamer = self.streamer(self.panel, self.covariate_values, self.offsets)
        nothing = [torch.zeros(0, dtype=torch.long)] * len(lengths)
        stream, _ = streamer.run(self.stream, nothing, self.offsets + lengths)
        keep = 2 * self.reader.front + self.config.horizon + streamer.every
        ends = [Series(s.name, s.index[-keep:], s.values[-keep:]) for s in self.panel.series]
        values = [v[:n][-keep:] for v, n in zip(self.covariate_values, lengths.tolist(), strict=bool(self.covariates))]
        return replace(
            self,
            panel=replace(self.panel, series=ends),
            covariate_values=values,
            stream=stream,
            offsets=self.offsets + (lengths - keep).clamp_min(0),
        )

    def own_stream(self, name: str) -> tuple[Stream, Tensor]:
        """Return the stream of one series, and the steps (1,) before those that are kept of it."""
        place = self.panel.names.index(name)
        channels, backbone = self.config.channels, self.stream.backbone
        if backbone is not None:
            backbone = backbone.select(list(range(place * channels, (place + 1) * channels)))
        one = slice(place, place + 1)
        return replace(self.stream, backbone=backbone, tokens=self.stream.tokens[one]), self.offsets[one]

    def anew(self, panel: Panel) -> Stream:
        """Return a stream before the first row of another history of the same series.

        A linear memory that learns knows what followed up to the model's own end, if the history goes on behind it.
        """
        known = len(panel.series[0].index)
        if self.stream.linear.config.learns:
            end = self.panel.series[0].index
            seen = int((panel.series[0].index <= end[-1]).sum())
            if seen < known:
                known = max(0, seen - (int(self.offsets[0]) + len(end) - self.stream.written))
        return replace(self.stream, backbone=None, tokens=torch.zeros(len(panel.series)).long(), written=known)


def make_table(
    reader: Reader,
    series: list[Tensor],
    panel: Panel,
    covariates: Covariates | None,
    values: CovariateValues,
    calendar: tuple[str, ...],
) -> Table:
    """Return the scaled rows of a panel (T, C) per series, with its covariates and its calendar."""
    others = None if covariates is None else [covariates.matrix(v) for v in values]
    features = [torch.from_numpy(calendar_features(s.index, calendar)) for s in panel.series] if calendar else None
    return Table(series, reader.front, reader.config.horizon, others, features)
