"""MAL, memory as a layer (equations 29 to 31). Axes: B batch, T tokens, P persistent tokens."""

from torch import Tensor

from titans_seq.backbone.hybrid import HybridBlock, HybridState
from titans_seq.state import State


class MALBlock(HybridBlock):
    """o = SWA(norm(M([P | x]))): the memory compresses what the window then attends to."""

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, HybridState]:
        """See `Block.mix`."""
        assert state is None or isinstance(state, HybridState)
        m, memory = self.memory.step(x, None if state is None else state.memory, lengths)
        y, attention = self.attention.step(self.norm(m), None if state is None else state.attention, lengths)
        return y, HybridState(memory, attention)
