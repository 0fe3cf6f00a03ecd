"""MAG, memory as a gate (equations 26 to 28). Axes: B batch, T tokens, P persistent tokens."""

import torch
from torch import Tensor

from titans_seq.backbone.config import BackboneConfig
from titans_seq.backbone.hybrid import HybridBlock, HybridState
from titans_seq.norm import RMSNorm
from titans_seq.state import State


class MAGBlock(HybridBlock):
    """o = sigmoid(norm(SWA([P | x]))) * norm(M([P | x])): both branches see the same input.

    The paper leaves the non-linearity open. A sigmoid on one side alone lets what the other one holds through from the
    first step on; with SiLU on both, recall is learned several times later.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.memory_norm = RMSNorm(config.dim)
        self.attention_norm = RMSNorm(config.dim)

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, HybridState]:
        """See `Block.mix`."""
        assert state is None or isinstance(state, HybridState)
        m, memory = self.memory.step(x, None if state is None else state.memory, lengths)
        y, attention = self.attention.step(self.norm(x), None if state is None else state.attention, lengths)
        gated = torch.sigmoid(self.attention_norm(y)) * self.memory_norm(m)
        return gated, HybridState(memory, attention)
