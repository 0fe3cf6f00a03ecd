"""A block that mixes nothing: what is left of a backbone without memory and attention. Axes: B batch, T tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from titans_seq.backbone.block import Block
from titans_seq.state import State


@dataclass
class BareState(State):
    """Nothing."""


class BareBlock(Block):
    """y = 0: the MLP alone, for which each token stands for itself."""

    def initial_state(self, batch: int, like: Tensor) -> BareState:
        """See `Block.initial_state`."""
        return BareState()

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, BareState]:
        """See `Block.mix`."""
        return torch.zeros_like(x), BareState()
