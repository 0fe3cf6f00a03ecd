"""LMM: the long-term memory alone as the sequence mixer, y = M(x). Axes: B batch, T tokens."""

from torch import Tensor

from titans_seq.backbone.block import Block, PrefixedMemory
from titans_seq.backbone.config import BackboneConfig
from titans_seq.memory.neural import MemoryState
from titans_seq.state import State


class LMMBlock(Block):
    """y = M([P | x]); the memory norms its own input."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.memory = PrefixedMemory(config)

    def initial_state(self, batch: int, like: Tensor) -> MemoryState:
        """See `Block.initial_state`."""
        return self.memory.initial_state(batch, like)

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, MemoryState]:
        """See `Block.mix`."""
        assert state is None or isinstance(state, MemoryState)
        return self.memory.step(x, state, lengths)
