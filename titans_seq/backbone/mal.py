"""MAL, memory as a layer (equations 29 to 31). Axes: B batch, T tokens, P persistent tokens."""

from torch import Tensor

from titans_seq.backbone.attention import Attention
from titans_seq.backbone.block import Block, PrefixedMemory
from titans_seq.backbone.config import BackboneConfig
from titans_seq.backbone.mag import HybridState
from titans_seq.norm import RMSNorm
from titans_seq.state import State


class MALBlock(Block):
    """o = SWA(norm(M([P | x]))): the memory compresses what the window then attends to."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.memory = PrefixedMemory(config)
        self.norm = RMSNorm(config.dim)
        self.attention = Attention(config.dim, config.heads, config.window, config.persistent_tokens)

    def initial_state(self, batch: int, like: Tensor) -> HybridState:
        """See `Block.initial_state`."""
        return HybridState(self.memory.initial_state(batch, like), self.attention.initial_state(batch, like))

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, HybridState]:
        """See `Block.mix`."""
        assert state is None or isinstance(state, HybridState)
        m, memory = self.memory.step(x, None if state is None else state.memory, lengths)
        y, attention = self.attention.step(self.norm(m), None if state is None else state.attention, lengths)
        return y, HybridState(memory, attention)
