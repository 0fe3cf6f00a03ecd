"""Products of the gates over a chunk: how much of what was written at one token is left at another.

Axes: B batch, H heads, N chunks, C tokens of one chunk.
"""

from contextlib import AbstractContextManager, nullcontext
from math import log
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Gates(NamedTuple):
    """Products of the gates over one chunk; see `chunk_gates`."""

    read: Tensor
    """G (..., C, C): weight of token k's gradient in M_t, lower triangular, minus sign left out."""
    keep: Tensor
    """beta (..., C): weight of the chunk's first M in M_t."""
    past: Tensor | None
    """f (..., C): weight of the chunk's first S in M_t; None without momentum."""
    write: Tensor | None
    """Last row of N (..., C): weight of token k's gradient in the chunk's last S; None without momentum."""
    momentum: Tensor | None
    """m (...,): weight of the chunk's first S in its last S; None without momentum."""


def half_life(forget: Tensor) -> Tensor:
    """Return the tokens after which half of a write is gone, of alpha (...); infinite where nothing is forgotten."""
    return -log(2) / torch.log1p(-forget)


def forget_gate(life: Tensor) -> Tensor:
    """Return the alpha (...) of a half-life in tokens."""
    return -torch.expm1(-log(2) / life)


def without_autocast(t: Tensor) -> AbstractContextManager[Any]:
    """Keep full precision inside, on the device of t; in bfloat16 products of many gates would drift."""
    device = t.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def decay(gate: Tensor) -> Tensor:
    """Return the products of gates (..., C) between tokens: E (..., C, C), E[t, k] = prod_{k < i <= t} gate_i, 0 above.

    Built by doubling from products alone, without logarithm or division, so gates of exactly 0 and 1 and their
    gradients are exact.
    """
    length = gate.shape[-1]
    size, padded = 1, 1 << (length - 1).bit_length()
    gate = F.pad(gate, (0, padded - length), value=1.0)
    blocks = gate.new_ones(*gate.shape, 1, 1)  # (..., blocks, size, size)
    while size < padded:
        top, bottom = blocks.unflatten(-3, (-1, 2)).unbind(-3)
        entry = gate.unflatten(-1, (-1, 2, size))[..., 1, 0, None]
        across = (bottom[..., 0] * entry).unsqueeze(-1) * top[..., -1, :].unsqueeze(-2)
        upper = torch.cat([top, torch.zeros_like(top)], -1)
        blocks = torch.cat([upper, torch.cat([across, bottom], -1)], -2)
        size *= 2
    return blocks.squeeze(-3)[..., :length, :length]


def chunk_gates(step_size: Tensor, momentum: Tensor | None, forget: Tensor | None, real: Tensor | None = None) -> Gates:
    """Return gate products of every chunk at once.

    Args:
        step_size, momentum, forget: theta, eta, alpha (..., C); the latter two may be None (0).
        real: (..., C) of 1 and 0; a 0 marks a slot that holds no token and so changes nothing. Such a slot must come
            with step_size 0, momentum 1 and forget 0.
    """
    with without_autocast(step_size):
        size = step_size.shape[-1]
        if forget is None:
            stay = torch.ones_like(step_size)
            kept = stay.new_ones(size, size).tril()
        else:
            stay = 1 - forget
            kept = decay(stay)
        keep = kept[..., 0] * stay[..., :1]
        if momentum is None:
            return Gates(kept * step_size.unsqueeze(-2), keep, None, None, None)
        carried = decay(momentum)
        through = carried[..., 0] * momentum[..., :1]
        wrote = carried * step_size.unsqueeze(-2)
        if real is not None:
            read_in, past_in = wrote * real.unsqueeze(-1), through * real
        else:
            read_in, past_in = wrote, through
        past = (kept @ past_in.unsqueeze(-1)).squeeze(-1)
        return Gates(kept @ read_in, keep, past, wrote[..., -1, :], through[..., -1])


def unbind_gates(gates: Gates) -> list[Gates]:
    """Return gates of N chunks (B, H, N, ...) as N gates (B, H, ...)."""
    columns = [[None] * gates.read.shape[2] if g is None else list(g.unbind(2)) for g in gates]
    return [Gates(*row) for row in zip(*columns, strict=True)]
