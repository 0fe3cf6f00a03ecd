"""From the projection of a token to its query, key, value and output gate: causal convolution, SiLU, length.

Axes: B batch, T tokens, P projected features, K taps of the convolution, H heads, D features of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from titans_seq import kernel
from titans_seq.memory import compiled


def memory_inputs(
    x: Tensor, tail: Tensor | None, weight: Tensor | None, heads: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return q and k of unit length, v divided by the square root of D, (B, H, T, D) each, and the gate (B, T, H D).

    A memory of several layers holds values of about unit length with weights of about the size they began with. Longer
    values need larger weights, whose gradients grow with a power of the depth until each step overshoots: outputs stay
    bounded then, but gradients through some thousand tokens do not.

    Args:
        x: projected tokens (B, T, 4 H D), those of q, k, v and the gate one after the other.
        tail: (B, K - 1, 3 H D), the same of the tokens before; None for zeros.
        weight: taps of the depthwise convolution (3 H D, K); None for no convolution.
    """
    if weight is not None and kernel.is_usable(x) and x.dtype == weight.dtype:
        tail = _zeros(x, weight) if tail is None else tail.to(x.dtype)
        return compiled.convolve(x, tail, weight, heads)
    x, gate = x.split((x.shape[-1] // 4 * 3, x.shape[-1] // 4), -1)
    mixed = F.silu(convolve(x, tail, weight)).unflatten(-1, (3, heads, -1))
    q, k, v = mixed.permute(2, 0, 3, 1, 4)
    return normalize(q), normalize(k), v * v.shape[-1] ** -0.5, F.silu(gate)


def convolve(x: Tensor, tail: Tensor | None, weight: Tensor | None) -> Tensor:
    """Convolve x (B, T, P), behind tail (B, K - 1, P), causally and depthwise with weight (P, K); None leaves x."""
    if weight is None:
        return x
    length = x.shape[1]
    joined = torch.cat([_zeros(x, weight) if tail is None else tail, x], 1)
    out = joined[:, :length] * weight[:, 0]
    for j in range(1, weight.shape[1]):
        out = out + joined[:, j : j + length] * weight[:, j]
    return out


def next_tail(x: Tensor, tail: Tensor | None, taps: int, lengths: Tensor | None) -> Tensor:
    """Return the K - 1 inputs before the token that comes next, of x (B, T, P) behind tail: (B, K - 1, P).

    Args:
        lengths: (B,) real tokens of each row, on the processor; None: all T.
    """
    if lengths is None and x.shape[1] >= taps - 1:
        return x[:, x.shape[1] - taps + 1 :].clone()  # not a view, which would keep all of x alive
    joined = torch.cat([x.new_zeros(x.shape[0], taps - 1, x.shape[2]) if tail is None else tail, x], 1)
    if lengths is None:
        return joined[:, x.shape[1] :]
    index = lengths.unsqueeze(1) + torch.arange(taps - 1)
    return joined.gather(1, index.to(x.device).unsqueeze(-1).expand(-1, -1, x.shape[2]))


def normalize(x: Tensor) -> Tensor:
    """Scale to unit length along the last axis; zero stays zero, with a finite gradient."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)


def _zeros(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_zeros(x.shape[0], weight.shape[1] - 1, weight.shape[0])
