"""Quantile levels between those that a network forecasts. Axes: Q quantile levels."""

from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor


def interpolate_levels(values: Tensor, levels: Sequence[float], wanted: Sequence[float]) -> Tensor:
    """Return values at rising levels (..., Q) at other levels, (..., len(wanted)): linear in between, flat beyond."""
    found = []
    for level in wanted:
        at = bisect_right(levels, level)
        if at in (0, len(levels)):
            found.append(values[..., max(0, at - 1)])
            continue
        share = (level - levels[at - 1]) / (levels[at] - levels[at - 1])
        found.append(torch.lerp(values[..., at - 1], values[..., at], share))
    return torch.stack(found, -1)
