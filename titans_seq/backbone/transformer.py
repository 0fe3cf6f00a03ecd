"""Transformer++: attention alone, the baseline of the same house. Axes: B batch, T tokens."""

from torch import Tensor

from titans_seq.backbone.attention import Attention, AttentionState
from titans_seq.backbone.block import Block
from titans_seq.backbone.config import BackboneConfig
from titans_seq.norm import RMSNorm
from titans_seq.state import State


class AttentionBlock(Block):
    """y = Attention(norm(x)), over a window or, with window None, over all tokens so far."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.norm = RMSNorm(config.dim)
        self.attention = Attention(config.dim, config.heads, config.window, config.persistent_tokens)

    def initial_state(self, batch: int, like: Tensor) -> AttentionState:
        """See `Block.initial_state`."""
        return self.attention.initial_state(batch, like)

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, AttentionState]:
        """See `Block.mix`."""
        assert state is None or isinstance(state, AttentionState)
        return self.attention.step(self.norm(x), state, lengths)
