"""The gated MLP of every block (SwiGLU, arXiv 2002.05202)."""

import torch.nn.functional as F
from torch import Tensor, nn


class SwiGLU(nn.Module):
    """x -> W_out (silu(W_gate x) * W_in x); (..., dim) to (..., dim)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, 2 * hidden, bias=False)
        self.outer = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim)."""
        gate, value = self.inner(x).chunk(2, -1)
        out: Tensor = self.outer(F.silu(gate) * value)
        return out
