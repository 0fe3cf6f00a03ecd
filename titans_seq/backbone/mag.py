"""MAG, memory as a gate (equations 26 to 28). Axes: B batch, T tokens, P persistent tokens."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from titans_seq.backbone.attention import Attention, AttentionState
from titans_seq.backbone.block import Block, PrefixedMemory
from titans_seq.backbone.config import BackboneConfig
from titans_seq.memory.neural import MemoryState
from titans_seq.norm import RMSNorm
from titans_seq.state import State


@dataclass
class HybridState(State):
    """A block with a memory and an attention window."""

    memory: MemoryState
    attention: AttentionState


class MAGBlock(Block):
    """o = act(norm(SWA([P | x]))) * act(norm(M([P | x]))): both branches see the same input."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.memory = PrefixedMemory(config)
        self.norm = RMSNorm(config.dim)
        self.attention = Attention(config.dim, config.heads, config.window, config.persistent_tokens)
        self.memory_norm = RMSNorm(config.dim)
        self.attention_norm = RMSNorm(config.dim)

    def initial_state(self, batch: int, like: Tensor) -> HybridState:
        """See `Block.initial_state`."""
        return HybridState(self.memory.initial_state(batch, like), self.attention.initial_state(batch, like))

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, HybridState]:
        """See `Block.mix`."""
        assert state is None or isinstance(state, HybridState)
        m, memory = self.memory.step(x, None if state is None else state.memory, lengths)
        y, attention = self.attention.step(self.norm(x), None if state is None else state.attention, lengths)
        gated = F.silu(self.attention_norm(y)) * F.silu(self.memory_norm(m))
        return gated, HybridState(memory, attention)
