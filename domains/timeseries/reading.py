"""Make what the network reads: tokens at places of a table, and the linear forecast at each of them.

Axes: B streams, N tokens, M of them that forecast, L look-back, K key, P patch, H horizon, Q quantile levels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans_seq.domains.timeseries.linear import LinearConfig, apply
from titans_seq.domains.timeseries.network import ForecastConfig, Tokens
from titans_seq.domains.timeseries.tokens import Table, normalise, start_of_forecast

FURTHEST = 10.0
"""Features further out, in units of the look-back's spread, are cut off there."""


class Places(NamedTuple):
    """Where tokens stand."""

    series: Tensor
    """(B,) long."""
    channel: Tensor
    """(B,) long."""
    ends: Tensor
    """(B, N) long: steps of the series that are seen."""
    gaps: Tensor
    """(B, N) long: steps since the token before."""


class Reading(NamedTuple):
    """What the network and its targets are made from, in units of each series' scale."""

    tokens: Tokens
    linear: Tensor
    """(B, M, H): the linear forecast at the tokens that forecast."""
    scale: Tensor
    """(B, M, 1): spread of their look-back."""

    def to(self, device: torch.device) -> "Reading":
        """Return the same on another device."""
        features, channel, covariates, ahead = self.tokens
        others = (None if t is None else t.to(device) for t in (covariates, ahead))
        tokens = Tokens(features.to(device), channel.to(device), *others)
        return Reading(tokens, self.linear.to(device), self.scale.to(device))

    def forecast(self, offsets: Tensor) -> Tensor:
        """Return the forecast at each level for what the network adds, both (B, M, H, Q)."""
        return self.linear.unsqueeze(-1) + self.scale.unsqueeze(-1) * offsets


@dataclass(frozen=True)
class Reader:
    """Reads tokens of tables for one network."""

    config: ForecastConfig
    linear: LinearConfig

    @property
    def patch(self) -> int:
        """Return the steps of a token."""
        assert self.config.patch is not None
        return self.config.patch

    @property
    def front(self) -> int:
        """Return the room that a table needs before each series."""
        return self.linear.context + self.patch

    def read(
        self, table: Table, places: Places, weights: Tensor, sets: Tensor | None = None, at: Tensor | None = None
    ) -> Reading:
        """Return tokens, and the linear forecast by a memory's weights.

        Args:
            weights: (G, K + 1, H) of one memory, or of several one after the other.
            sets: (B, N) which of the memories each token is forecast by; None: there is one.
            at: places of the tokens that forecast, (M,); None: all.
        """
        linear, patch, horizon = self.linear, self.patch, self.config.horizon
        series, channel, ends, gaps = places
        group = (channel if linear.sharing is not None else torch.zeros_like(channel)).unsqueeze(1).expand_as(ends)
        if sets is not None:
            group = group + sets * linear.groups(table.channels)
        where = series, channel, ends
        known = table.take(*where, patch, 0)
        rows = table.take(*where, self.front, 0, filled=True)
        window = rows[..., patch:]
        z, centre, scale = normalise(window, linear.location)
        chosen = slice(None) if at is None else at
        start = start_of_forecast(window[:, chosen], linear.location, centre[:, chosen], linear.season, horizon)
        keys = linear.keys(z[:, chosen], scale[:, chosen], table, series, ends[:, chosen])
        forecast = apply(weights, group[:, chosen].flatten(), keys.flatten(0, 1))
        features = [
            z[..., -patch:].clamp(-FURTHEST, FURTHEST),
            torch.isfinite(known).to(z.dtype),
            self._errors(rows, known, weights, group.flatten(), table, series, ends - patch),
            scale.log(),
            z[..., -1:].clamp(-FURTHEST, FURTHEST),
            z.mean(-1, keepdim=True),
            (gaps / patch).unsqueeze(-1),
            table.calendar_at(series, ends),
        ]
        covariates = ahead = None
        if table.covariates is not None:
            covariates = table.covariates_before(series, ends, patch)
            if self.config.future_features:
                ahead = table.covariates_ahead(series, ends[:, chosen], self.config.future_features)
        tokens = Tokens(torch.cat(features, -1), channel, covariates, ahead)
        scale = scale[:, chosen]
        return Reading(tokens, start + scale * forecast.view(*scale.shape[:2], horizon), scale)

    def _errors(
        self, rows: Tensor, known: Tensor, weights: Tensor, group: Tensor, table: Table, series: Tensor, before: Tensor
    ) -> Tensor:
        """Return how far the last steps lie from what was forecast before them, (B, N, P), zero where missing.

        Args:
            before: (B, N) steps that were seen then.
        """
        linear, steps = self.linear, min(self.patch, self.config.horizon)
        window = rows[..., : linear.context]
        z, centre, scale = normalise(window, linear.location)
        start = start_of_forecast(window, linear.location, centre, linear.season, steps)
        keys = linear.keys(z, scale, table, series, before)
        forecast = start + scale * apply(weights, group, keys.flatten(0, 1), steps).view(*z.shape[:2], -1)
        error = ((known[..., :steps] - forecast) / scale).where(torch.isfinite(window[..., -1:]), 0.0)
        return F.pad(error.nan_to_num(0.0).clamp(-FURTHEST, FURTHEST), (0, self.patch - steps))
