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


def values_at(values: Tensor, levels: Sequence[float], shares: Tensor) -> Tensor:
    """Return values at rising levels (..., Q), of which one is 0.5, at a level of each, shares (...).

    Linear in between; beyond the levels as far as a normal distribution has it.
    """
    known, middle = values.new_tensor(levels), values[..., levels.index(0.5)]
    if len(levels) == 1:
        return middle
    right = torch.searchsorted(known, shares.to(known.dtype).contiguous()).clamp(1, len(levels) - 1)
    low, high = (values.gather(-1, place.unsqueeze(-1)).squeeze(-1) for place in (right - 1, right))
    found = torch.lerp(low, high, (shares - known[right - 1]) / (known[right] - known[right - 1]))
    ends = ((levels[0], values[..., 0], shares < known[0]), (levels[-1], values[..., -1], shares > known[-1]))
    for end, outer, beyond in ends:
        reach = torch.special.ndtri(shares.double()) / torch.special.ndtri(torch.tensor(end, dtype=torch.float64))
        tail = outer if end == 0.5 else middle + (outer - middle) * reach.to(values.dtype)
        found = tail.where(beyond, found)
    return found
