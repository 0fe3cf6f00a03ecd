"""Training losses; targets may be missing (NaN). Axes: B batch, C channels, H horizon, Q quantile levels."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def mse(forecast: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error over observed targets; (B, C, H) both."""
    error, count = _error(forecast, target)
    return error.square().sum() / count


def mae(forecast: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute error over observed targets."""
    error, count = _error(forecast, target)
    return error.abs().sum() / count


def spectral(forecast: Tensor, target: Tensor, share: float = 0.8) -> Tensor:
    """Return the mean amplitude of the error's spectrum along the horizon, with a share of `mse` (arXiv 2402.02399).

    Steps of a horizon are correlated, which the plain error per step ignores; its frequencies are hardly so.
    """
    error, count = _error(forecast, target)
    spectrum = torch.fft.rfft(error, dim=-1, norm="ortho").abs()
    observed = count / error.numel()
    loss: Tensor = share * spectrum.mean() / observed + (1 - share) * error.square().sum() / count
    return loss


def pinball(forecast: Tensor, target: Tensor, levels: Sequence[float]) -> Tensor:
    """Return the mean quantile loss over observed targets and levels; forecast (B, C, H, Q), target (B, C, H)."""
    seen = torch.isfinite(target).unsqueeze(-1)
    error = (target.unsqueeze(-1) - forecast).where(seen, 0.0)
    alpha = forecast.new_tensor(levels)
    loss: Tensor = torch.maximum(alpha * error, (alpha - 1) * error).mean(-1).sum() / seen.sum().clamp_min(1)
    return loss


def _error(forecast: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the error, zero where the target is missing, and the number of observed targets."""
    seen = torch.isfinite(target)
    error = (forecast - target.where(seen, 0.0)).where(seen, 0.0)
    return error, seen.sum().clamp_min(1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "mae": mae, "spectral": spectral}
"""Losses of points by name."""
