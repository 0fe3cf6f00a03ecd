"""What all blocks share: the gated MLP behind the mixer, and persistent tokens in front of a memory.

Axes: B batch, T tokens, P persistent tokens.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from titans_seq.backbone.config import BackboneConfig
from titans_seq.backbone.swiglu import SwiGLU
from titans_seq.dropout import Dropout
from titans_seq.memory.neural import MemoryState, NeuralMemory
from titans_seq.norm import RMSNorm
from titans_seq.recompute import is_wanted, run_in_segments
from titans_seq.state import State


class Block(nn.Module, ABC):
    """x + mixer(x), then + SwiGLU(norm(x))."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.mlp_norm = RMSNorm(config.dim)
        self.mlp = SwiGLU(config.dim, int(config.mlp_expansion * config.dim))
        self.dropout = Dropout(config.dropout)

    @abstractmethod
    def initial_state(self, batch: int, like: Tensor) -> State:
        """Return the state before the first token, with the dtype and device of `like`."""

    @abstractmethod
    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Mix a sequence x (B, T, dim), padded on the right past `lengths`."""

    def step(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Run the whole block; shapes as `mix`."""
        size = self.config.checkpoint_tokens
        if size is not None and is_wanted(size, x, lengths):
            state = self.initial_state(x.shape[0], x) if state is None else state
            return run_in_segments(lambda part, before: self.step(part, before, None), self, x, state, size)
        y, state = self.mix(x, state, lengths)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.mlp_norm(x))), state


class PrefixedMemory(nn.Module):
    """A memory that reads persistent tokens before the first token of a stream."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.memory = NeuralMemory(config.memory)
        count = config.persistent_tokens
        self.persistent = nn.Parameter(torch.randn(count, config.dim)) if count else None

    def initial_state(self, batch: int, like: Tensor) -> MemoryState:
        """Return the state before the first token; the persistent tokens have been read."""
        if self.persistent is None or like.is_meta:  # of shapes alone there is nothing to read
            return self.memory.initial_state(batch, like)
        return self.memory.step(self.persistent.to(like).expand(batch, -1, -1))[1]

    def step(self, x: Tensor, state: MemoryState | None, lengths: Tensor | None) -> tuple[Tensor, MemoryState]:
        """Run x (B, T, dim), padded on the right past `lengths`."""
        if state is not None or self.persistent is None:
            return self.memory.step(x, state, lengths)
        count = len(self.persistent)
        x = torch.cat([self.persistent.to(x.dtype).expand(x.shape[0], -1, -1), x], 1)
        y, state = self.memory.step(x, None, None if lengths is None else lengths + count)
        return y[:, count:], state
