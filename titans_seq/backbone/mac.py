"""MAC, memory as context (equations 21 to 25).

Axes: B batch, H heads, T tokens, D features of a head, S tokens of a segment, I / O inputs / outputs of a memory layer.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from titans_seq.backbone.attention import Attention
from titans_seq.backbone.block import Block
from titans_seq.backbone.config import BackboneConfig
from titans_seq.backbone.gate import Gate
from titans_seq.memory.neural import MemoryState, NeuralMemory
from titans_seq.norm import RMSNorm
from titans_seq.state import State, check_counter, stack


@dataclass
class MACState(State):
    """A MAC block in the middle of a stream; slots of the open segment that no token has taken yet are zero."""

    memory: MemoryState
    """ChunkGradients with what attention gave, and the token."""
    before: list[Tensor]
    """The memory of all earlier segments (B, H, O, I) per layer: the one that is recalled from."""
    tail: Tensor
    """Inputs of the convolution of the recalling query that the next token still sees (B, kernel - 1, dim)."""
    keys: Tensor
    """(B, H, 2, S, D): keys of what was recalled, and of the tokens, in the open segment."""
    values: Tensor
    """(B, H, 2, S, D)."""
    fill: Tensor
    """Tokens in the open segment (B,), int64 on the processor."""

    def check_counters(self) -> None:
        """See `State.check_counters`."""
        self.memory.check_counters()
        check_counter(self.fill, 0, self.keys.shape[3] - 1, "fill")
        # the memory's chunks divide the segment, and both count the same tokens
        if bool((self.fill % self.memory.stream.read.shape[2] != self.memory.stream.fill).any()):
            raise ValueError("the segment and the memory's chunk hold different numbers of tokens")


class MACBlock(Block):
    """Per segment s, normed: h = M_before(q), y = Attention([P | h | s]), m = M_t(s + y), o = Gate(y, m).

    Token i sees what was recalled by tokens j <= i and the tokens j <= i of its segment. The memory is written with
    s + y, token by token, and read with the per-token weights; no token is read with weights that a later one wrote.
    The paper writes y alone. Attention that has learned nothing yet gives nearly the mean of its segment, from which no
    token can be recalled: a needle in 512 bytes is then not found in 300 steps, with s after 100.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        assert config.window is not None, "the configuration has checked it"
        self.segment = config.window
        self.norm = RMSNorm(config.dim)
        self.memory = NeuralMemory(config.memory)
        self.attention = Attention(config.dim, config.heads, None, config.persistent_tokens)
        self.gate = Gate(config.dim)

    def initial_state(self, batch: int, like: Tensor) -> MACState:
        """See `Block.initial_state`."""
        config = self.config
        cache = like.new_zeros(batch, config.heads, 2, self.segment, config.dim // config.heads)
        return MACState(
            memory=self.memory.initial_state(batch, like),
            before=[w.unsqueeze(0).expand(batch, *w.shape).to(like) for w in self.memory.memory],
            tail=like.new_zeros(batch, config.conv_kernel - 1, config.dim),
            keys=cache,
            values=cache,
            fill=torch.zeros(batch, dtype=torch.long),
        )

    def mix(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, MACState]:
        """See `Block.mix`."""
        assert state is None or isinstance(state, MACState)
        fill = 0 if state is None else int(state.fill[0])
        if lengths is not None or (state is not None and bool((state.fill != fill).any())):
            return self._by_row(x, state, lengths)
        state = self.initial_state(x.shape[0], x) if state is None else state
        outputs, position = [], 0
        while position < x.shape[1]:
            stop = min(position + self.segment - fill, x.shape[1])
            o, state = self._within(x[:, position:stop], state, fill)
            fill = (fill + stop - position) % self.segment
            outputs.append(o)
            position = stop
        return torch.cat(outputs, 1), state

    def _within(self, x: Tensor, state: MACState, fill: int) -> tuple[Tensor, MACState]:
        """Run tokens of one segment, behind the `fill` tokens it has."""
        length = x.shape[1]
        h, tail = self.memory.recall(x, state.before, state.tail)
        x = self.norm(x)
        both = torch.stack([h, x], 1)  # (B, 2, T, dim)
        q, k, v = self.attention.project(both).unflatten(-1, (3, self.config.heads, -1)).permute(3, 0, 4, 1, 2, 5)
        room = (0, 0, fill, self.segment - fill - length)
        keys, values = state.keys + F.pad(k, room), state.values + F.pad(v, room)
        place = torch.arange(self.segment, device=x.device)
        seen = (place[fill : fill + length].unsqueeze(1) >= place).repeat(1, 2)  # (T, 2 S)
        near = self.attention.attend(
            q[:, :, 1], keys.flatten(2, 3), values.flatten(2, 3), seen.expand(1, 1, *seen.shape),
            place[fill : fill + length], place.repeat(2),
        )  # fmt: skip
        y = self.attention.output(near.transpose(1, 2).flatten(2))
        m, memory = self.memory.step(x + y, state.memory, None, fill=fill % self.config.chunk_size)
        state = MACState(memory, state.before, tail, keys, values, state.fill + length)
        if fill + length == self.segment:
            cleared = torch.zeros_like(keys)
            state = MACState(memory, memory.stream.weights, tail, cleared, cleared, torch.zeros_like(state.fill))
        return self.gate(y, m), state

    def _by_row(self, x: Tensor, state: MACState | None, lengths: Tensor | None) -> tuple[Tensor, MACState]:
        """Run rows that stand at different places of their segment, one after the other."""
        state = self.initial_state(x.shape[0], x) if state is None else state
        outputs, states = [], []
        for row in range(x.shape[0]):
            length = x.shape[1] if lengths is None else int(lengths[row])
            own = state.select([row])
            o = x.new_zeros(1, 0, x.shape[2])
            if length:
                o, own = self.mix(x[row : row + 1, :length], own, None)
            outputs.append(F.pad(o, (0, 0, 0, x.shape[1] - length)))
            states.append(own)
        return torch.cat(outputs), stack(states)
