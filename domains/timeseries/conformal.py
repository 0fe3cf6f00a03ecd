"""Conformal calibration: how far held-back windows lay from their forecasts (split conformal prediction).

Axes: W windows, C channels, H horizon, Q quantile levels.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from titans_seq.domains.timeseries.levels import interpolate_levels
from titans_seq.errors import DataError

MAX_WINDOWS, MIN_WINDOWS, MAX_ERRORS = 1000, 100, 2**22
"""Bounds of the number of windows that are kept, evenly spread in time, and of the errors in all of them, which gives
way to `MIN_WINDOWS`."""


@dataclass(frozen=True)
class Calibration:
    """Errors on windows that were not trained on, all series together, in units of each series' scale."""

    errors: Tensor
    """Target minus each level's forecast, (W, C, H, Q) float32, NaN where the target is missing."""
    levels: tuple[float, ...]
    """Quantile levels of the forecasts."""

    @classmethod
    def from_errors(cls, errors: Tensor, levels: tuple[float, ...]) -> "Calibration":
        """Keep errors (W, C, H, Q) of windows, evenly in time if there are very many."""
        most = max(MIN_WINDOWS, min(MAX_WINDOWS, MAX_ERRORS // errors[0].numel()))
        chosen = torch.linspace(0, len(errors) - 1, min(most, len(errors))).round().long()
        return cls(errors[chosen].clone(), levels)

    def check(self, channels: int, horizon: int) -> None:
        """Raise ValueError unless the errors belong to a model of this many channels and steps."""
        if self.errors.ndim != 4 or self.errors.shape[1:] != (channels, horizon, len(self.levels)):
            raise ValueError(f"the calibration is {tuple(self.errors.shape)}")

    def quantile(self, alpha: float) -> NDArray[np.float32]:
        """Return the quantile of the middle level's error per channel and step, (C, H), not falling as alpha rises.

        The rank is alpha (W + 1), between two errors by interpolation: exchangeable windows lie below the forecast
        plus it with a chance of alpha.

        Raises:
            DataError: alpha is further out than that many windows can tell.
        """
        errors = self.errors[..., self.levels.index(0.5)]
        count = self._count(errors)
        if not 1 <= alpha * (count + 1) <= count:
            need = ceil(1 / min(alpha, 1 - alpha) - 1e-6) - 1
            raise DataError(f"alpha {alpha:g} takes {need} held-back windows, there are {count}: hold back more")
        found: NDArray[np.float32] = np.nanquantile(errors.numpy(), alpha, axis=0, method="weibull")
        return found

    def band(self, forecast: Tensor, coverage: float) -> tuple[Tensor, Tensor]:
        """Return the ends of the interval around forecasts (S, C, H, Q) of scaled values, (S, C, H) each.

        Beyond the model's own levels nearest to the coverage's (its middle, if it has no others) by the
        ceil((W + 1) coverage)-th smallest of the distances at which held-back targets lay outside of them
        (arXiv 1905.03222): one more exchangeable window is covered with a chance of at least the coverage.

        Raises:
            DataError: the coverage is higher than that many windows can tell.
        """
        ends = [(1 - coverage) / 2, (1 + coverage) / 2]
        low, high = interpolate_levels(self.errors, self.levels, ends).unbind(-1)
        scores = torch.maximum(-low, high)  # below the lower end, above the upper one; negative within
        count = self._count(scores)
        rank = ceil((count + 1) * coverage - 1e-9)
        if rank > count:
            need = ceil(coverage / (1 - coverage) - 1e-6)
            raise DataError(f"coverage {coverage:g} takes {need} held-back windows, there are {count}: hold back more")
        seen = torch.isfinite(scores).sum(0)  # (C, H)
        ranks = torch.ceil((seen + 1) * coverage - 1e-9).long().clamp_min(1)
        ordered = scores.nan_to_num(torch.inf, torch.inf, -torch.inf).sort(0).values
        margin = ordered.gather(0, (ranks - 1).unsqueeze(0))[0]
        lower, upper = interpolate_levels(forecast, self.levels, ends).unbind(-1)
        margin = torch.maximum(margin, (lower - upper) / 2)  # an interval that shrinks ends at its middle
        return lower - margin, upper + margin

    def _count(self, errors: Tensor) -> int:
        """Return the number of windows with a target, at the channel and step that has the fewest."""
        return int(torch.isfinite(errors).sum(0).min())
