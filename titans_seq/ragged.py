"""Masks: real tokens moved to the front of each row, and back.

Axes: B batch, T tokens, R real tokens (of the longest row).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Compaction(NamedTuple):
    """Where the real tokens of a masked batch stand; see `compact`."""

    order: Tensor
    """(B, R): position of each row's real tokens, in order; past a row's length anything."""
    lengths: Tensor
    """(B,) int64 on the processor: real tokens of each row."""
    mask: Tensor
    """(B, T) bool: True at real tokens."""


def compact(mask: Tensor | None) -> Compaction | None:
    """Return the compaction of a mask (B, T), True at real tokens; None if every token is real."""
    if mask is None or bool(mask.all()):
        return None
    lengths = mask.sum(1).cpu()
    order = torch.argsort(~mask, dim=1, stable=True)
    return Compaction(order[:, : max(1, int(lengths.max()))], lengths, mask)


def gather(x: Tensor, where: Compaction) -> Tensor:
    """Gather (B, T, ...) as (B, R, ...), zeros past each row's length."""
    index = expand_index(where.order, x, 1)
    real = mask_within(where.lengths.to(x.device), where.order.shape[1])
    return x.gather(1, index).where(real.reshape(*real.shape, *[1] * (x.ndim - 2)), x.new_zeros(()))


def scatter(x: Tensor, where: Compaction) -> Tensor:
    """Scatter (B, R, ...) as (B, T, ...), zeros at masked tokens."""
    rank = (where.mask.long().cumsum(1) - 1).clamp_min(0)
    real = where.mask.reshape(*where.mask.shape, *[1] * (x.ndim - 2))
    return x.gather(1, expand_index(rank, x, 1)).where(real, x.new_zeros(()))


def mask_within(lengths: Tensor, size: int) -> Tensor:
    """Return (B, size) bool for lengths (B,): True below each row's length."""
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(1)


def expand_index(index: Tensor, like: Tensor, axis: int) -> Tensor:
    """Return an index (B, K) along `axis`, broadcast over the other axes of `like` for `Tensor.gather`."""
    shape = [1] * like.ndim
    shape[0], shape[axis] = index.shape
    target = list(like.shape)
    target[axis] = index.shape[1]
    return index.reshape(shape).expand(target)
