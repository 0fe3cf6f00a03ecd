"""The forecasting network: a Titans backbone over the patches of a stream, and at each of them a forecast.

A linear path forecasts first; the network says by how much it errs, and how wide the errors are. All is in units of
the spread of the look-back behind a token. At the start it adds nothing.

Axes: B streams (one channel of one series each), N tokens, L look-back, H horizon, Q quantile levels, P patch, D width,
K covariates, F of them known ahead, A calendar features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq.backbone import BackboneConfig, BackboneState, TitansBackbone
from titans_seq.dropout import Dropout

KNOTS = 96
"""Steps of the horizon at which the widths are forecast at the most; in between they are interpolated."""
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PLAIN = 4
"""Features of a token beside its patch: log spread, last value, mean, and steps since the token before."""


@dataclass(frozen=True, kw_only=True)
class ForecastConfig:
    """Sizes of a [`ForecastNetwork`][titans_seq.domains.timeseries.network.ForecastNetwork]."""

    horizon: int = 24
    """Steps to forecast."""

    context: int | None = None
    """Look-back that a forecast is normalised by, and that its linear part reads; the memory reads the whole history.
    None: chosen by the data."""

    patch: int | None = None
    """Steps that become one token. None: a part of the season, fewer for a short history."""

    dropout: float = 0.2
    """Share of features set to zero in training: of the head's inputs, and behind each mixer and MLP."""

    quantiles: tuple[float, ...] | None = DECILES
    """Levels between 0 and 1 that are forecast and trained by the pinball loss; the middle, which `predict` returns, is
    always one of them. None: the middle alone."""

    channels: int = 1
    """Channels, each of which has widths of its own; all other weights are shared."""

    past_features: int = 0
    """Covariates known in the past only."""

    future_features: int = 0
    """Covariates known over the horizon too."""

    calendar_features: int = 0
    """Features of the calendar."""

    backbone: BackboneConfig

    def __post_init__(self) -> None:
        if self.quantiles is not None and not all(0 < q < 1 for q in self.quantiles):
            raise ValueError(f"quantiles must lie between 0 and 1, not {', '.join(map(str, self.quantiles))}")
        for name in ("horizon", "context", "patch", "channels"):
            value = getattr(self, name)
            if value is None and name in ("context", "patch"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")

    @property
    def levels(self) -> tuple[float, ...]:
        """Return the quantile levels, rising; the middle, 0.5, which is the point forecast, is always one of them."""
        return tuple(sorted({0.5, *(self.quantiles or ())}))


class Tokens(NamedTuple):
    """What the network reads."""

    features: Tensor
    """(B, N, 3 P + PLAIN + A): normalised patch, whether each step was observed, error of the linear path, the rest."""
    channel: Tensor
    """(B,) long."""
    covariates: Tensor | None = None
    """(B, N, P, K), NaN where missing."""
    ahead: Tensor | None = None
    """(B, M, H, F) at the tokens that forecast, NaN where missing."""


class ForecastNetwork(nn.Module):
    """Correct the linear forecast of each token, and give the widths around it."""

    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        assert config.patch is not None
        self.config = config
        dim = config.backbone.dim
        self.embed = nn.Linear(3 * config.patch + PLAIN + config.calendar_features, dim)
        self.backbone = TitansBackbone(config.backbone)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(dim, config.horizon)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        steps, self.knots = len(config.levels) - 1, min(config.horizon, KNOTS)
        self.spread = self.channel_spread = None
        if steps:
            self.spread = nn.Linear(dim, steps * self.knots)
            nn.init.normal_(self.spread.weight, std=0.002)
            nn.init.zeros_(self.spread.bias)
            self.channel_spread = nn.Parameter(torch.zeros(config.channels, steps * self.knots))
        self.covariates = CovariateLayers(config) if config.past_features + config.future_features else None

    def forward(
        self, tokens: Tokens, state: BackboneState | None = None, mask: Tensor | None = None, at: Tensor | None = None
    ) -> tuple[Tensor, BackboneState]:
        """Return what is to be added to the linear forecast at each level, (B, N, H, Q), and the state.

        The levels cannot cross: each lies beyond its neighbour towards the middle by a softplus.

        Args:
            tokens: the next of each stream.
            state: what an earlier call returned; None begins the streams.
            mask: (B, N), False at tokens that are to change nothing.
            at: places of the tokens that forecast, (M,); None: all. N is then M in what returns.
        """
        x = self.embed(tokens.features)
        if self.covariates is not None:
            assert tokens.covariates is not None, "the network was built for covariates"
            x = x + self.covariates.tokens(tokens.covariates, tokens.channel)
        hidden, state = self.backbone(x, state, mask)
        hidden = self.dropout(hidden if at is None else hidden[:, at])
        out = self.head(hidden)
        if self.covariates is not None and tokens.ahead is not None:
            out = out + self.covariates.ahead(hidden, tokens.ahead, tokens.channel)
        levels = self.config.levels
        if self.spread is None or self.channel_spread is None:
            return out.unsqueeze(-1), state
        width = self.spread(hidden) + self.channel_spread[tokens.channel].unsqueeze(1)
        width = 0.25 * F.softplus(width.unflatten(-1, (len(levels) - 1, self.knots)))
        if self.knots < self.config.horizon:
            width = F.interpolate(width.flatten(0, 1), size=self.config.horizon, mode="linear")
            width = width.unflatten(0, hidden.shape[:2])
        middle, widths = levels.index(0.5), width.unbind(-2)
        below, above = [out], [out]
        for step in reversed(widths[:middle]):
            below.append(below[-1] - step)
        for step in widths[middle:]:
            above.append(above[-1] + step)
        return torch.stack([*reversed(below), *above[1:]], -2).mT, state

    def scale_correction(self, share: float) -> None:
        """Scale what is added to the middle of every forecast from now on."""
        with torch.no_grad():
            for parameter in self._correction():
                parameter.mul_(share)

    def _correction(self) -> list[nn.Parameter]:
        """Return the parameters of the layers whose output is added to the middle."""
        found = [*self.head.parameters()]
        if self.covariates is not None and self.covariates.known_ahead:
            found += self.covariates.answer.parameters()
        return found

    @contextmanager
    def scaled_correction(self, share: float) -> Iterator[None]:
        """Scale it inside only."""
        kept = [parameter.detach().clone() for parameter in self._correction()]
        self.scale_correction(share)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, before in zip(self._correction(), kept, strict=True):
                    parameter.copy_(before)


class CovariateLayers(nn.Module):
    """Add covariates: those of the past to the tokens of every channel, those ahead to each step's forecast.

    Channels respond to the same covariate differently, so each has a vector of its own.
    """

    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        dim, patch = config.backbone.dim, config.patch or 1
        self.embed = nn.Linear(2 * (config.past_features + config.future_features) * patch, dim, bias=False)
        self.channel = nn.Parameter(0.02 * torch.randn(config.channels, dim))
        self.known_ahead = config.future_features > 0
        if self.known_ahead:
            self.step = nn.Linear(2 * config.future_features, dim)
            self.state = nn.Linear(dim, dim, bias=False)
            self.answer = nn.Linear(dim, 1)

    def tokens(self, covariates: Tensor, channel: Tensor) -> Tensor:
        """Return what is added to the tokens (B, N, D), for covariates (B, N, P, K)."""
        added: Tensor = self.embed(add_mask(covariates).flatten(2)) + self.channel[channel].unsqueeze(1)
        return added

    def ahead(self, hidden: Tensor, covariates: Tensor, channel: Tensor) -> Tensor:
        """Return what is added to the forecast (B, N, H), for hidden (B, N, D) and covariates (B, N, H, F)."""
        if not self.known_ahead:
            return hidden.new_zeros(())
        states = self.state(hidden) + self.channel[channel].unsqueeze(1)  # (B, N, D)
        answer: Tensor = self.answer(F.silu(self.step(add_mask(covariates)) + states.unsqueeze(2))).squeeze(-1)
        return answer


def add_mask(x: Tensor) -> Tensor:
    """Return (..., 2 K) for (..., K): zero where missing, and whether each value is there."""
    observed = torch.isfinite(x)
    return torch.cat([x.where(observed, x.new_zeros(())), observed.to(x.dtype)], -1)
