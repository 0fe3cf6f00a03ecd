"""Tokens of series: patches normalised by the look-back that ends with them, and the targets behind them.

Axes: R rows of all series one below the other, S series, C channels, B streams (one channel of one series each),
N tokens, L look-back, P patch, H horizon, K covariates, F of them known ahead, A calendar features.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans_seq.domains.timeseries.baselines import forward_fill

Location = Literal["mean", "last", "season"]
"""What a forecast starts from: the mean of the look-back, its last value, or its last season."""

VARIANCE_FLOOR = 0.01
"""Added to the variance of a look-back, in squared units of the series' own scale."""


class Table:
    """All rows of a panel, with room for a look-back before each series and for a horizon behind it.

    Args:
        series: one (T, C) floating tensor per series, scaled; NaN where missing.
        front: rows of room before each series; the last value observed stands for missing ones as long as that.
        horizon: rows of room behind each series.
        covariates: (T, K) or (T + H, K) per series, scaled, NaN where missing; those known ahead last; None: none.
        calendar: (T, A) per series; None: none.
    """

    def __init__(
        self,
        series: Sequence[Tensor],
        front: int,
        horizon: int,
        covariates: Sequence[Tensor] | None = None,
        calendar: Sequence[Tensor] | None = None,
    ) -> None:
        def stack(parts: Sequence[Tensor], value: float) -> Tensor:
            sizes = [front + len(s) + horizon for s in series]
            padded = [
                F.pad(p, (0, 0, front, n - front - len(p)), value=value) for p, n in zip(parts, sizes, strict=True)
            ]
            return torch.cat(padded)

        self.horizon = horizon
        self.lengths = torch.tensor([len(s) for s in series])
        sizes = self.lengths + front + horizon
        self.first = sizes.cumsum(0) - sizes + front  # (S,) row of each series' first step
        values = stack(series, torch.nan)
        self.channels, self.rows = values.shape[1], len(values)
        self.values = self.filled = values.mT.contiguous()  # (C, R)
        if any(not bool(torch.isfinite(s).all()) for s in series):
            parts = self.values.split(sizes.tolist(), 1)
            self.filled = torch.cat([forward_fill(part, front) for part in parts], 1)
        self.covariates = None if covariates is None else stack(covariates, torch.nan)
        self.calendar = None if calendar is None else stack(calendar, 0.0)

    @property
    def streams(self) -> tuple[Tensor, Tensor]:
        """Return the series and the channel of each stream, (S C,): all channels of the first series come first."""
        count = len(self.lengths)
        return torch.arange(count).repeat_interleave(self.channels), torch.arange(self.channels).repeat(count)

    def take(
        self, series: Tensor, channel: Tensor, ends: Tensor, before: int, behind: int, filled: bool = False
    ) -> Tensor:
        """Return the last `before` of `ends` steps seen and the `behind` next, (B, N, before + behind).

        Args:
            series, channel: (B,).
            ends: (B, N) steps of the series that are seen; the target begins behind them.
            filled: the last value observed, up to `front` steps before, stands for missing ones.
        """
        rows = self._rows(series, ends, before, behind)
        return (self.filled if filled else self.values).take(rows + (channel * self.rows).view(-1, 1, 1))

    def beside(self, series: Tensor, ends: Tensor, steps: int, context: int) -> Tensor:
        """Return the last `steps` of all channels less the mean of each one's look-back, (B, N, C, steps).

        Args:
            series: (B,).
            ends: (B, N) steps of the series that are seen.
            context: the look-back.
        """
        end = self.first[series].unsqueeze(1) + ends
        total, count = (sums[:, end] - sums[:, end - context] for sums in self._sums)  # (C, B, N)
        mean = (total / count.clamp_min(1)).to(self.filled.dtype).unsqueeze(-1)
        found = self.filled[:, self._rows(series, ends, steps, 0)] - mean
        return found.nan_to_num(0.0).permute(1, 2, 0, 3)

    @cached_property
    def _sums(self) -> tuple[Tensor, Tensor]:
        """Return the sum of the values before each row, and how many there are, (C, R + 1) each."""
        seen = torch.isfinite(self.filled)
        values = self.filled.where(seen, 0.0).double(), seen.double()
        total, count = (F.pad(v.cumsum(1), (1, 0)) for v in values)
        return total, count

    def covariates_before(self, series: Tensor, ends: Tensor, patch: int) -> Tensor:
        """Return the covariates of the last `patch` steps, (B, N, P, K)."""
        assert self.covariates is not None
        return self.covariates[self._rows(series, ends, patch, 0)]

    def covariates_ahead(self, series: Tensor, ends: Tensor, count: int) -> Tensor:
        """Return the last `count` covariates over the horizon, (B, N, H, F)."""
        assert self.covariates is not None
        return self.covariates[self._rows(series, ends, 0, self.horizon)][..., self.covariates.shape[1] - count :]

    def calendar_at(self, series: Tensor, ends: Tensor) -> Tensor:
        """Return the calendar of the last step seen, (B, N, A)."""
        if self.calendar is None:
            return self.values.new_zeros((*ends.shape, 0))
        return self.calendar[self.first[series].unsqueeze(1) + ends - 1]

    def _rows(self, series: Tensor, ends: Tensor, before: int, behind: int) -> Tensor:
        return (self.first[series].unsqueeze(1) + ends).unsqueeze(-1) + torch.arange(-before, behind)


class Normalised(NamedTuple):
    """A look-back in units of its own spread."""

    z: Tensor
    """(..., L), zero where nothing was ever observed."""
    centre: Tensor
    """(..., 1)."""
    scale: Tensor
    """(..., 1)."""


def normalise(window: Tensor, location: Location) -> Normalised:
    """Return a look-back (..., L), NaN before its first value, less its mean or last value, in units of its spread."""
    if window.numel() and bool(torch.isfinite(window.sum(-1)).all()):  # nothing is missing: the same in fewer passes
        variance, mean = torch.var_mean(window, -1, correction=0, keepdim=True)
        scale = (variance + VARIANCE_FLOOR).sqrt()
        centre = window[..., -1:] if location == "last" else mean
        return Normalised((window - centre) / scale, centre, scale)
    seen = torch.isfinite(window)
    count = seen.sum(-1, keepdim=True).clamp_min(1)
    known = window.where(seen, window.new_zeros(()))
    mean = known.sum(-1, keepdim=True) / count
    spread = (known - mean).where(seen, window.new_zeros(()))
    scale = (spread.square().sum(-1, keepdim=True) / count + VARIANCE_FLOOR).sqrt()
    centre = mean
    if location == "last":
        centre = window[..., -1:].where(seen[..., -1:], mean)
        spread = (known - centre).where(seen, window.new_zeros(()))
    return Normalised(spread / scale, centre, scale)


def start_of_forecast(window: Tensor, location: Location, centre: Tensor, season: int, horizon: int) -> Tensor:
    """Return what a forecast of a look-back (..., L) starts from, (..., 1) or (..., H): see `Location`."""
    if location != "season":
        return centre
    last = window[..., window.shape[-1] - season + torch.arange(horizon) % season]
    return last.where(torch.isfinite(last), centre)


def pad_front(values: Tensor, steps: int) -> Tensor:
    """Return (T, C) as (`steps`, C) with NaN in front."""
    return F.pad(values, (0, 0, steps - len(values), 0), value=torch.nan)
