"""How attention and memory are joined in MAC and MAG: the paper's circled times. Axes: T tokens."""

import torch
from torch import Tensor, nn

from titans_seq.norm import RMSNorm


class Gate(nn.Module):
    """sigmoid(norm(attention)) * norm(memory).

    The paper normalises both "using learnable vector-valued weights, followed by a non-linearity", and leaves the
    non-linearity open. A sigmoid on one side alone lets what the other one holds through from the first step on; with
    SiLU on both, recall is learned several times later.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.memory_norm = RMSNorm(dim)
        self.attention_norm = RMSNorm(dim)

    def forward(self, attention: Tensor, memory: Tensor) -> Tensor:
        """Combine both, (..., T, dim), into one of that shape."""
        gated: Tensor = torch.sigmoid(self.attention_norm(attention)) * self.memory_norm(memory)
        return gated
