"""LMM: the long-term memory alone as the sequence mixer, y = M(x). Axes: B batch, T tokens."""

from torch import Tensor, nn

from titans_seq.backbone.config import BackboneConfig
from titans_seq.backbone.swiglu import SwiGLU
from titans_seq.memory.neural import MemoryState, NeuralMemory


class LMMBlock(nn.Module):
    """x + M(x), then + SwiGLU; the memory norms its own input."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.memory = NeuralMemory(config.memory)
        self.norm = nn.RMSNorm(config.dim)
        self.mlp = SwiGLU(config.dim, int(config.mlp_expansion * config.dim))
        self.dropout = nn.Dropout(config.dropout)

    def step(self, x: Tensor, state: MemoryState | None, lengths: Tensor | None) -> tuple[Tensor, MemoryState]:
        """x (B, T, dim), padded on the right past `lengths`."""
        y, state = self.memory.step(x, state, lengths)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.norm(x))), state
