"""Training losses; targets may be missing (NaN). Axes: B batch, C channels, N tokens, H horizon, Q quantile levels."""

from collections.abc import Sequence

import torch
from torch import Tensor


def mse(forecast: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error over observed targets; (B, C, H) both."""
    seen = torch.isfinite(target)
    error = (forecast - target.where(seen, 0.0)).where(seen, 0.0)
    return error.square().sum() / seen.sum().clamp_min(1)


def pinball(forecast: Tensor, target: Tensor, levels: Sequence[float], weight: Tensor) -> Tensor:
    """Return the mean quantile loss over observed targets and levels.

    Args:
        forecast: (B, N, H, Q).
        target: (B, N, H).
        weight: of each token, (B, N, 1).
    """
    seen = torch.isfinite(target).unsqueeze(-1)
    error = (target.unsqueeze(-1) - forecast).where(seen, 0.0)
    alpha = forecast.new_tensor(levels)
    loss: Tensor = (torch.maximum(alpha * error, (alpha - 1) * error).mean(-1) * weight).sum() / seen.sum().clamp_min(1)
    return loss
