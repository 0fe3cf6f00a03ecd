"""The gated MLP of every block (SwiGLU, arXiv 2002.05202). Axes: N tokens, D hidden features."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from titans_seq import kernel


class SwiGLU(nn.Module):
    """x -> W_out (silu(W_gate x) * W_in x); (..., dim) to (..., dim)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, 2 * hidden, bias=False)
        self.outer = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim)."""
        both = self.inner(x)
        if kernel.is_usable(both) and both.numel():
            hidden = kernel.call(KernelSwiGLU, both.reshape(-1, both.shape[-1]).contiguous())
            hidden = hidden.view(*both.shape[:-1], -1)
        else:
            gate, value = both.chunk(2, -1)
            hidden = F.silu(gate) * value
        out: Tensor = self.outer(hidden)
        return out


class KernelSwiGLU(torch.autograd.Function):
    """`swiglu.cpp` behind autograd; first derivatives only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Map gate and value side by side, (N, 2 D), to silu(gate) * value (N, D)."""
        ctx.save_for_backward(x)
        out: Tensor = torch.ops.titans_seq.swiglu_forward(x)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> Tensor:
        """Return the gradient of x."""
        d_x: Tensor = torch.ops.titans_seq.swiglu_backward(d_out.contiguous(), *ctx.saved_tensors)
        return d_x
