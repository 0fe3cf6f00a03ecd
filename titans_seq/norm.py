"""Root mean square normalisation (arXiv 1910.07467) that autocast cannot make coarse. Axes: D features."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from titans_seq import kernel


class RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` in the precision of its own weight, whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        x = x.to(self.weight.dtype)
        if not kernel.is_usable(x) or not x.numel():
            return super().forward(x)
        out: Tensor = kernel.call(KernelNorm, x.reshape(-1, x.shape[-1]).contiguous(), self.weight)
        return out.view(x.shape)


class KernelNorm(torch.autograd.Function):
    """`norm.cpp` behind autograd; first derivatives only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Map (N, D) to (N, D), with a weight (D)."""
        ctx.save_for_backward(x, weight)
        out: Tensor = torch.ops.titans_seq.norm_forward(x, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradients of x and weight."""
        found: tuple[Tensor, Tensor] = torch.ops.titans_seq.norm_backward(d_out.contiguous(), *ctx.saved_tensors)
        return found
