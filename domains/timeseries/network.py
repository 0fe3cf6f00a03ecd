"""The forecasting network: instance norm, patches, a Titans backbone over the patches, one linear head.

Axes: B batch, C channels, L look-back, H horizon, Q quantile levels, N patches, P patch length, D width,
K covariates of the past, F of them known ahead.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq.backbone import BackboneConfig, TitansBackbone
from titans_seq.dropout import Dropout

VARIANCE_FLOOR = 1e-5
"""Added to the variance of a window, in squared units of the series' own scale."""


@dataclass(frozen=True, kw_only=True)
class ForecastConfig:
    """Sizes of a [`ForecastNetwork`][titans_seq.domains.timeseries.network.ForecastNetwork]."""

    horizon: int = 96
    """Steps to forecast."""

    context: int = 96
    """Steps a forecast is made from."""

    patch: int = 16
    """Steps that become one token."""

    stride: int = 16
    """Steps from one token to the next."""

    dropout: float = 0.2
    """Share of features set to zero in training: of the head's inputs, and behind each mixer and MLP."""

    quantiles: tuple[float, ...] | None = None
    """Levels between 0 and 1 that are forecast beside the middle and trained, all of them, by the pinball loss in
    place of `loss`; `predict` is then the median. None: a point forecast."""

    channels: int = 0
    """Channels, which matters to covariates alone: without any, all channels share all weights."""

    past_features: int = 0
    """Covariates known in the past only."""

    future_features: int = 0
    """Covariates known over the horizon too."""

    backbone: BackboneConfig

    def __post_init__(self) -> None:
        if self.quantiles is not None and not all(0 < q < 1 for q in self.quantiles):
            raise ValueError(f"quantiles must lie between 0 and 1, not {', '.join(map(str, self.quantiles))}")
        for name in ("context", "horizon", "patch", "stride"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
        if self.stride > self.patch:
            raise ValueError(f"stride ({self.stride}) must not exceed patch ({self.patch}): steps would be skipped")

    @property
    def levels(self) -> tuple[float, ...]:
        """Return the quantile levels, rising; the middle, 0.5, which is the point forecast, is always one of them."""
        return tuple(sorted({0.5, *(self.quantiles or ())}))

    @property
    def patches(self) -> int:
        """Return the tokens of a look-back; a front pad makes the last token end at the last step."""
        return max(0, -(-(self.context - self.patch) // self.stride)) + 1


class ForecastNetwork(nn.Module):
    """Forecast each channel from its own sequence of patches; the weights are shared by all channels."""

    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.backbone.dim
        self.embed = nn.Linear(2 * config.patch, dim)
        self.position = nn.Parameter(0.02 * torch.randn(config.patches, dim))
        self.backbone = TitansBackbone(config.backbone)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(config.patches * dim, config.horizon)
        steps = len(config.levels) - 1
        self.spread = nn.Linear(config.patches * dim, config.horizon * steps) if steps else None
        covariates = config.past_features + config.future_features
        self.covariates = CovariateLayers(config) if covariates else None

    def forward(self, past: Tensor, covariates: Tensor | None = None, ahead: Tensor | None = None) -> Tensor:
        """Return the forecast of the past (B, C, L), NaN where missing: (B, C, H) on the same scale.

        A network with covariates takes them too: of the past (B, K, L), those known ahead last, and of the horizon
        (B, F, H); NaN where missing.
        """
        _, out, mean, scale = self._read(past, covariates, ahead)
        forecast: Tensor = out * scale + mean
        return forecast

    def quantiles(self, past: Tensor, covariates: Tensor | None = None, ahead: Tensor | None = None) -> Tensor:
        """Return the forecast at each of the configuration's levels, (B, C, H, Q); arguments as in `forward`.

        They cannot cross: each lies beyond its neighbour towards the middle by a softplus.
        """
        hidden, out, mean, scale = self._read(past, covariates, ahead)
        out = out.unsqueeze(-1)
        if self.spread is not None:
            steps = (
                F.softplus(self.spread(hidden)).unflatten(0, past.shape[:2]).unflatten(-1, (self.config.horizon, -1))
            )
            middle = self.config.levels.index(0.5)
            below = steps[..., :middle].flip(-1).cumsum(-1).flip(-1)
            out = torch.cat([out - below, out, out + steps[..., middle:].cumsum(-1)], -1)
        forecast: Tensor = out * scale.unsqueeze(-1) + mean.unsqueeze(-1)
        return forecast

    def _read(
        self, past: Tensor, covariates: Tensor | None, ahead: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the heads' input (B C, N D), the normalised forecast (B, C, H), and mean and scale (B, C, 1)."""
        observed = torch.isfinite(past)
        z, mean, scale = instance_norm(past, observed)
        tokens = self.embed(torch.cat([self._patch(z), self._patch(observed.to(z.dtype))], -1)) + self.position
        if self.covariates is not None:
            assert covariates is not None, "the network was built for covariates"
            tokens = tokens + self.covariates.tokens(self._patch(add_mask(covariates)))
        hidden, _ = self.backbone(tokens.flatten(0, 1))
        hidden = self.dropout(hidden.flatten(1))
        out = self.head(hidden).unflatten(0, past.shape[:2])
        if self.covariates is not None and ahead is not None:
            out = out + self.covariates.ahead(hidden, ahead)
        return hidden, out, mean, scale

    def _patch(self, x: Tensor) -> Tensor:
        """Cut (B, C, L) into patches (B, C, N, P)."""
        config = self.config
        front = (config.patches - 1) * config.stride + config.patch - config.context
        return F.pad(x, (front, 0)).unfold(-1, config.patch, config.stride)


class CovariateLayers(nn.Module):
    """Add covariates: those of the past to the tokens of every channel, those ahead to each step's forecast.

    Channels respond to the same covariate differently, so each has a vector of its own.
    """

    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        dim = config.backbone.dim
        self.embed = nn.Linear(2 * (config.past_features + config.future_features) * config.patch, dim, bias=False)
        self.channel = nn.Parameter(0.02 * torch.randn(config.channels, dim))
        self.known_ahead = config.future_features > 0
        if self.known_ahead:
            self.step = nn.Linear(2 * config.future_features, dim)
            self.state = nn.Linear(config.patches * dim, dim, bias=False)
            self.answer = nn.Linear(dim, 1)

    def tokens(self, patches: Tensor) -> Tensor:
        """Return what is added to the tokens (B, C, N, D), for patches (B, 2 K, N, P)."""
        added: Tensor = self.embed(patches.transpose(1, 2).flatten(2)).unsqueeze(1) + self.channel.unsqueeze(1)
        return added

    def ahead(self, hidden: Tensor, covariates: Tensor) -> Tensor:
        """Return what is added to the normalised forecast (B, C, H), for hidden (B C, N D), covariates (B, F, H)."""
        if not self.known_ahead:
            return hidden.new_zeros(())
        steps = self.step(add_mask(covariates).mT).unsqueeze(1)  # (B, 1, H, D)
        states = self.state(hidden).unflatten(0, (len(covariates), -1)) + self.channel  # (B, C, D)
        answer: Tensor = self.answer(F.silu(steps + states.unsqueeze(2))).squeeze(-1)
        return answer


def add_mask(x: Tensor) -> Tensor:
    """Return (B, 2 K, T) for (B, K, T): zero where missing, and whether each value is there."""
    observed = torch.isfinite(x)
    return torch.cat([x.where(observed, x.new_zeros(())), observed.to(x.dtype)], 1)


def instance_norm(past: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (past - mean) / scale per window and channel, zero where missing; mean and scale (B, C, 1)."""
    count = observed.sum(-1, keepdim=True).clamp_min(1)
    filled = past.where(observed, past.new_zeros(()))
    mean = filled.sum(-1, keepdim=True) / count
    centred = (filled - mean).where(observed, past.new_zeros(()))
    scale = (centred.square().sum(-1, keepdim=True) / count + VARIANCE_FLOOR).sqrt()
    return centred / scale, mean, scale
