"""MAL, memory as a layer (equations 29 to 31). Axes: B batch, T tokens, P persistent tokens."""

from torch import Tensor

from titans_seq.backbone.hybrid import HybridBlock, HybridState
from titans_seq.state import State


class MALBlock(HybridBlock):
    """m = M([P | x]), o = m + SWA(norm(x + m)): the memory compresses what the window then attends to.

    Each of the two layers has a residual connection of its own, which the paper does not say. Without the inner one all
    that the memory recalls has to pass through the attention: a needle is found after twice the steps, and language is
    learned worse (tinyshakespeare after 500 steps: 1.926 nats per character, with it 1.859).
    """

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, HybridState]:
        """See `Block.mix`."""
        assert state is None or isinstance(state, HybridState)
        m, memory = self.memory.step(x, None if state is None else state.memory, lengths)
        y, attention = self.attention.step(self.norm(x + m), None if state is None else state.attention, lengths)
        return m + y, HybridState(memory, attention)
