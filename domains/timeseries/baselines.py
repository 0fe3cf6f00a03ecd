"""Baselines that every forecast is compared with: last value, drift, last season, and DLinear.

Axes: B batch, C channels, L look-back, H horizon.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SeasonalNaive(nn.Module):
    """Repeat the last season; a missing value is taken from the season before it, or the last one seen."""

    def __init__(self, horizon: int, season: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.season = season

    def forward(self, past: Tensor) -> Tensor:
        """Return the forecast (B, C, H) of the past (B, C, L), L >= season; zero where nothing was ever observed."""
        seasons = past.shape[-1] // self.season
        last = past[..., -seasons * self.season :].unflatten(-1, (seasons, self.season))
        season = forward_fill(last.transpose(-1, -2))[..., -1]
        season = season.where(torch.isfinite(season), forward_fill(past)[..., -1:]).nan_to_num()
        repeats = -(-self.horizon // self.season)
        return season.repeat(1, 1, repeats)[..., : self.horizon]


class Drift(nn.Module):
    """Go on from the last value as fast as the series went from the first one seen to it."""

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon

    def forward(self, past: Tensor) -> Tensor:
        """Return the forecast (B, C, H) of the past (B, C, L); zero where nothing was ever observed."""
        last, first = forward_fill(past)[..., -1:], forward_fill(past.flip(-1))[..., -1:]
        slope = (last - first) / max(1, past.shape[-1] - 1)
        forecast = last + slope * torch.arange(1, self.horizon + 1, device=past.device)
        return forecast.nan_to_num()


class DLinear(nn.Module):
    """Two linear maps shared by all channels, one for the moving average and one for the rest (arXiv 2205.13504)."""

    def __init__(self, context: int, horizon: int, kernel: int = 25) -> None:
        super().__init__()
        self.kernel = kernel
        self.trend = nn.Linear(context, horizon)
        self.rest = nn.Linear(context, horizon)

    def forward(self, past: Tensor) -> Tensor:
        """Return the forecast (B, C, H) of the past (B, C, L), whose missing values repeat the last one observed."""
        past = forward_fill(past).nan_to_num()
        before, after = (self.kernel - 1) // 2, self.kernel // 2
        padded = F.pad(past, (before, after), mode="replicate")
        trend = F.avg_pool1d(padded, self.kernel, stride=1)
        out: Tensor = self.trend(trend) + self.rest(past - trend)
        return out


def forward_fill(x: Tensor, limit: int | None = None) -> Tensor:
    """Return x with each NaN along the last axis replaced by the last value before it; leading NaN stay.

    Args:
        limit: steps that a value stands for missing ones at the most; None: any number.
    """
    steps = torch.arange(x.shape[-1], device=x.device)
    last = torch.where(torch.isfinite(x), steps, -1).cummax(-1).values
    known = last >= 0 if limit is None else (last >= 0) & (steps - last <= limit)
    return x.gather(-1, last.clamp_min(0)).where(known, x.new_tensor(torch.nan))
