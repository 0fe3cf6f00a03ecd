"""A gated recurrent unit in the memory's place, a peer of the same house. Axes: B batch, T tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from titans_seq.backbone.block import Block
from titans_seq.backbone.config import BackboneConfig
from titans_seq.norm import RMSNorm
from titans_seq.state import State


@dataclass
class GRUState(State):
    """A recurrent unit in the middle of a stream."""

    hidden: Tensor
    """(B, dim)."""


class GRUBlock(Block):
    """y = W GRU(norm(x)), as wide as the tokens. Source: Cho et al. 2014, arXiv:1406.1078."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.norm = RMSNorm(config.dim)
        self.gru = nn.GRU(config.dim, config.dim, batch_first=True)
        self.out = nn.Linear(config.dim, config.dim, bias=False)

    def initial_state(self, batch: int, like: Tensor) -> GRUState:
        """See `Block.initial_state`."""
        return GRUState(like.new_zeros(batch, self.config.dim))

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, GRUState]:
        """See `Block.mix`."""
        assert state is None or isinstance(state, GRUState)
        before = self.initial_state(x.shape[0], x).hidden if state is None else state.hidden
        weights: list[Tensor] = [*self.gru.parameters()]  # the module's own call cannot be exported
        y, last = torch.gru(self.norm(x), before.unsqueeze(0), weights, True, 1, 0.0, False, False, True)
        if lengths is None:
            return self.out(y), GRUState(last[0])
        through = torch.cat([before.unsqueeze(1), y], 1)  # behind no, one, two, ... tokens
        return self.out(y), GRUState(through[torch.arange(len(through), device=x.device), lengths.to(x.device)])
