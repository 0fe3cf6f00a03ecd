"""MAG, memory as a gate (equations 26 to 28). Axes: B batch, T tokens, P persistent tokens."""

from torch import Tensor

from titans_seq.backbone.config import BackboneConfig
from titans_seq.backbone.gate import Gate
from titans_seq.backbone.hybrid import HybridBlock, HybridState
from titans_seq.state import State


class MAGBlock(HybridBlock):
    """o = Gate(SWA([P | x]), M([P | x])): both branches see the same input."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.gate = Gate(config.dim)

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, HybridState]:
        """See `Block.mix`."""
        assert state is None or isinstance(state, HybridState)
        m, memory = self.memory.step(x, None if state is None else state.memory, lengths)
        y, attention = self.attention.step(self.norm(x), None if state is None else state.attention, lengths)
        return self.gate(y, m), HybridState(memory, attention)
