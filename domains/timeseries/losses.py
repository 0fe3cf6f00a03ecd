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
    seen = torch.isfinite(target)
    error = forecast - target.where(seen, 0.0).unsqueeze(-1)
    with torch.no_grad():  # the loss is linear on both sides of zero
        share = weight * seen / (seen.sum().clamp_min(1) * len(levels))
        slope = ((error > 0).to(error.dtype) - error.new_tensor(levels)) * share.unsqueeze(-1)
    loss: Tensor = (slope * error).sum()
    return loss
