"""What MAG and MAL share: a memory that reads persistent tokens first, and attention over a window.

Axes: B batch, T tokens.
"""

from dataclasses import dataclass

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


class HybridBlock(Block):
    """The parts and the state; a subclass says how they mix."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.memory = PrefixedMemory(config)
        self.norm = RMSNorm(config.dim)
        self.attention = Attention(config.dim, config.heads, config.window, config.persistent_tokens)

    def initial_state(self, batch: int, like: Tensor) -> HybridState:
        """See `Block.initial_state`."""
        return HybridState(self.memory.initial_state(batch, like), self.attention.initial_state(batch, like))
