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


class Slots(NamedTuple):
    """Where the tokens of rows stand that began at different places of a piece of `size` slots; see `align`."""

    token: Tensor
    """(B, N size) on the processor: the one that takes each slot; anything where none does."""
    taken: Tensor
    """(B, N size) bool on the processor: whether a token takes the slot."""
    back: Tensor
    """(B, T) on the processor: the slot of each token; past a row's length anything."""


def align(begin: Tensor, lengths: Tensor, length: int, size: int) -> Slots:
    """Give row b's j-th token slot begin_b + j; as many whole pieces of `size` slots as the longest row needs.

    Args:
        begin: slots taken before (B,), int64 on the processor, each below `size`.
        lengths: (B,) real tokens of each row, the same way, of `length`.
    """
    count = max(1, -(-int((begin + lengths).max()) // size)) * size
    token = torch.arange(count) - begin.unsqueeze(1)
    taken = (token >= 0) & (token < lengths.unsqueeze(1))
    back = (torch.arange(length) + begin.unsqueeze(1)).clamp_max(count - 1)
    return Slots(token.clamp(0, length - 1), taken, back)


def pick(t: Tensor, index: Tensor, axis: int) -> Tensor:
    """Return t at an index (B, K) along `axis`, on the device of t."""
    return t.gather(axis, expand_index(index.to(t.device), t, axis))


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
