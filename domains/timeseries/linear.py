"""A linear memory of what followed each look-back, solved exactly instead of by gradient steps.

Its key is a normalised look-back, its value what then happened; a new pair is written once its last value is known, and
older ones fade. The weights are the ridge regression on everything written (the optimum that a gradient step of the
neural memory goes towards; arXiv 2506.05233 calls it a Mesa layer). Each channel may have weights of its own, held
towards the mean of all, and its key the last steps of all channels beside its own look-back.

Axes: G groups (channels, or 1 for all together), W windows, C channels, L look-back, K key, H horizon, M rows.
"""

import math
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from titans_seq.domains.timeseries.tokens import Location, Table, normalise, start_of_forecast
from titans_seq.validation import check_whole

LARGEST = 20.0
"""A look-back or target further out, in units of the look-back's spread, is not learned from: a sentinel or a jump."""
ELEMENTS = 2**23
"""Numbers of windows at a time."""


@dataclass(frozen=True)
class LinearConfig:
    """Shape and rules of a linear memory."""

    context: int
    """Look-back."""
    horizon: int
    """Steps to forecast."""
    location: Location
    """What a forecast starts from."""
    season: int
    """Steps of a season."""
    penalty: float
    """Ridge penalty per window; infinite: the forecast is what it starts from."""
    sharing: float | None
    """Weight of all channels' mean against the channel's own windows; None: one set of weights for all channels."""
    half_life: float | None
    """Steps after which a window counts half; None: all count the same."""
    learns: bool
    """Whether new rows go on teaching it."""
    across: int = 0
    """Steps of all channels in the key of each; 0: none."""
    across_penalty: float = 1.0
    """Of those, in units of `penalty`."""

    def __post_init__(self) -> None:
        check_whole(1, context=self.context, horizon=self.horizon, season=self.season)
        if self.location not in get_args(Location):
            raise ValueError(f"location must be one of {', '.join(get_args(Location))}, not {self.location!r}")
        if self.location == "season" and self.season > self.context:
            raise ValueError(f"a season of {self.season} steps does not fit into a look-back of {self.context}")
        check_whole(0, across=self.across)
        if self.across > self.context or (self.across and self.sharing is None):
            raise ValueError(f"a key across channels has at most {self.context} steps, and weights of its own")
        for name in ("penalty", "sharing", "half_life", "across_penalty"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, not {value!r}")

    @property
    def is_naive(self) -> bool:
        """Whether the forecast is the last value or season."""
        return math.isinf(self.penalty) and self.location != "mean"

    def key_size(self, channels: int) -> int:
        """Return the numbers of a key."""
        return self.context + self.across * channels

    def keys(self, z: Tensor, scale: Tensor, table: Table, series: Tensor, ends: Tensor) -> Tensor:
        """Return keys (..., B, N, K) of look-backs z (..., B, N, L) with their spread (..., B, N, 1).

        Args:
            series: (B,).
            ends: (B, N) steps of the series that are seen.
        """
        if not self.across:
            return z
        others = table.beside(series, ends, self.across, self.context).flatten(2) / scale
        return torch.cat([z, others.clamp(-LARGEST, LARGEST)], -1)

    def groups(self, channels: int) -> int:
        """Return how many sets of weights there are."""
        return 1 if self.sharing is None else channels


@dataclass(frozen=True)
class Moments:
    """Sums over windows, per channel or for all: gram (G, K + 1, K + 1), cross (G, K + 1, H), count (G,)."""

    gram: Tensor
    cross: Tensor
    count: Tensor

    @classmethod
    def zeros(cls, groups: int, size: int, horizon: int) -> "Moments":
        """Return the sums over nothing, for keys of a size."""
        gram = torch.zeros(groups, size + 1, size + 1)
        return cls(gram, torch.zeros(groups, size + 1, horizon), torch.zeros(groups))

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.gram + other.gram, self.cross + other.cross, self.count + other.count)

    def scaled(self, factor: float) -> "Moments":
        """Return the sums times a factor."""
        return Moments(self.gram * factor, self.cross * factor, self.count * factor)

    def pooled(self) -> "Moments":
        """Return the sums of all groups together."""
        return Moments(self.gram.sum(0, True), self.cross.sum(0, True), self.count.sum(0, True))


def measure(config: LinearConfig, table: Table, series: Tensor, ends: Tensor, pool: bool) -> Moments:
    """Return the moments of the windows of all channels at these places.

    Args:
        series, ends: (W,) series and steps seen of each window.
        pool: sum over the channels too.
    """
    channels, context, horizon = table.channels, config.context, config.horizon
    total = Moments.zeros(1 if pool else channels, config.key_size(channels), horizon)
    size = max(1, ELEMENTS // (channels * (config.key_size(channels) + horizon)))
    channel = torch.arange(channels)
    for own, at in zip(series.split(size), ends.split(size), strict=True):
        where = own.repeat(channels), channel.repeat_interleave(len(own)), at.repeat(channels).unsqueeze(1)
        window = table.take(*where, context, horizon, filled=True).squeeze(1).unflatten(0, (channels, -1))
        known = window[..., context:]
        if table.filled is not table.values:
            known = table.take(*where, 0, horizon).squeeze(1).unflatten(0, (channels, -1))
        before, target = window[..., :context], window[..., context:]
        z, centre, scale = normalise(before, config.location)
        start = start_of_forecast(before, config.location, centre, config.season, horizon)
        value = (target - start) / scale
        useful = (
            (torch.isfinite(known).float().mean(-1) >= 0.5)
            & (z.abs().amax(-1) < LARGEST)
            & (value.nan_to_num(torch.inf).abs().amax(-1) < LARGEST)
        ).unsqueeze(-1)
        keys = config.keys(z.unsqueeze(2), scale.unsqueeze(2), table, own, at.unsqueeze(1)).squeeze(2)
        key = torch.cat([keys, torch.ones_like(centre)], -1) * useful
        value = value.where(useful, 0.0)
        if pool:
            key, value, useful = (t.flatten(0, 1).unsqueeze(0) for t in (key, value, useful))
        total += Moments(key.mT @ key, key.mT @ value, useful.sum((1, 2)).float())
    return total


@dataclass(frozen=True)
class LinearMemory:
    """What a linear memory knows."""

    config: LinearConfig
    moments: Moments

    def weights(self) -> Tensor:
        """Return the regression on all that was written, (G, K + 1, H)."""
        return solve(self.config, self.moments)

    def written(self, new: Moments, steps: int) -> "LinearMemory":
        """Return the memory `steps` steps later, with the moments of new windows."""
        half = self.config.half_life
        old = self.moments if half is None else self.moments.scaled(0.5 ** (steps / half))
        return replace(self, moments=old + new)


def solve(config: LinearConfig, moments: Moments) -> Tensor:
    """Return the ridge regression (G, K + 1, H) on moments per channel, or of all together."""
    if not config.penalty < torch.inf:
        return torch.zeros_like(moments.cross)
    if config.sharing is None:
        own = moments.pooled()
    else:
        pooled = moments.pooled().scaled(config.sharing / len(moments.count))
        own = moments + Moments(*(t.expand(len(moments.count), *t.shape[1:]) for t in vars(pooled).values()))
    eye = torch.eye(own.gram.shape[1])
    eye[config.context : -1] *= config.across_penalty
    found = [
        torch.cholesky_solve(cross, torch.linalg.cholesky(gram + float(config.penalty * count.clamp_min(1)) * eye))
        for gram, cross, count in zip(own.gram, own.cross, own.count, strict=True)
    ]
    return torch.stack(found)


def apply(weights: Tensor, group: Tensor, z: Tensor, steps: int | None = None) -> Tensor:
    """Return the forecast of keys z (M, K), each by the weights (K + 1, H) of its group (M,), (M, H).

    Args:
        steps: of the horizon; None: all.
    """
    weights = weights[..., :steps]
    if len(weights) == 1:
        return torch.addmm(weights[0, -1], z, weights[0, :-1])
    out = z.new_empty(len(z), weights.shape[-1])
    if not len(z):
        return out
    order = group.argsort(stable=True)
    names, sizes = group[order].unique_consecutive(return_counts=True)
    for name, rows in zip(names.tolist(), order.split(sizes.tolist()), strict=True):
        out[rows] = torch.addmm(weights[name, -1], z[rows], weights[name, :-1])
    return out
