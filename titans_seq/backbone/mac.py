"""MAC, memory as context (equations 21 to 25).

Axes: B batch, H heads, T tokens, D features of a head, S tokens of a segment, I / O inputs / outputs of a memory layer.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans_seq.backbone.attention import Attention, Rotation, rotate, rotation
from titans_seq.backbone.block import Block
from titans_seq.backbone.config import BackboneConfig
from titans_seq.backbone.gate import Gate
from titans_seq.memory.neural import MemoryState, NeuralMemory
from titans_seq.norm import RMSNorm
from titans_seq.ragged import align, pick
from titans_seq.state import State, check_counter


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
    """(B, H, 2, S, D): keys of what was recalled, and of the tokens, in the open segment, turned by their place."""
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
        ragged = lengths is not None or (state is not None and bool((state.fill != fill).any()))
        state = self.initial_state(x.shape[0], x) if state is None else state
        begin, size, length = state.fill, self.segment, x.shape[1]
        normed = self.norm(x)
        asked, gate, tail = self.memory.query(x, state.tail, lengths)
        q, k, v = self.attention.project(normed).unflatten(-1, (3, self.config.heads, -1)).permute(2, 0, 3, 1, 4)
        given, slots = [normed, gate, asked, q, k, v], None
        if ragged:
            lengths = torch.full_like(begin, length) if lengths is None else lengths
            slots = align(begin, lengths, length, size)
            given, fill = [pick(t, slots.token, t.ndim - 2) for t in given], 0
        places = torch.arange(size, device=x.device)
        turn = rotation(places, q)
        seen = (places.unsqueeze(1) >= places).repeat(1, 2).expand(1, 1, size, 2 * size)
        frame = Frame(turn, self.attention.mask(seen, q))
        normed, gate, asked, q, k, v = given
        own = turn.at((torch.arange(normed.shape[1], device=x.device) + fill) % size)
        tokens = SegmentTokens(normed, gate, asked, q, rotate(q, own), rotate(k, own), v)
        near, recalled, position = [], [], 0
        while position < tokens.x.shape[1]:
            stop = min(position + size - fill, tokens.x.shape[1])
            taken = None if slots is None else slots.taken[:, position:stop]
            y, m, state = self._within(tokens.slice(position, stop), state, fill, taken, frame)
            fill = (fill + stop - position) % size
            near.append(y)
            recalled.append(m)
            position = stop
        o = self.gate(torch.cat(near, 1), torch.cat(recalled, 1))
        return o if slots is None else pick(o, slots.back, 1), replace(state, tail=tail)

    def _within(
        self, tokens: "SegmentTokens", state: MACState, fill: int, taken: Tensor | None, frame: "Frame"
    ) -> tuple[Tensor, Tensor, MACState]:
        """Run tokens of one segment: what attention gave and what the memory recalled (B, T, dim), and the state.

        They take the slots behind the `fill` that every row has; with `taken` (B, S) all slots, some of which hold no
        token or one that was there before.
        """
        length, size, dim = tokens.x.shape[1], self.segment, self.config.dim
        own = slice(fill, fill + length)
        h = self.memory.recall(tokens.asked, tokens.gate, state.before)
        h_k, h_v = (
            F.linear(h, self.attention.project.weight[dim:])
            .unflatten(-1, (2, self.config.heads, -1))
            .permute(2, 0, 3, 1, 4)
        )
        keys = torch.stack([rotate(h_k, frame.turn.at(own)), tokens.near_k], 2)
        values = torch.stack([h_v, tokens.v], 2)
        if taken is not None:
            new = taken.to(h.device)[:, None, None, :, None]
            keys, values = keys.where(new, state.keys), values.where(new, state.values)
        elif length < size:
            room = (0, 0, fill, size - fill - length)
            keys, values = state.keys + F.pad(keys, room), state.values + F.pad(values, room)
        near = self.attention.attend(
            tokens.q, tokens.near_q, keys.flatten(2, 3), values.flatten(2, 3), frame.mask[:, :, own]
        )
        y = self.attention.output(near.transpose(1, 2).flatten(2))
        if taken is not None:
            return y, *self._write_ragged(tokens.x + y, state, taken, keys, values)
        m, memory = self.memory.step(tokens.x + y, state.memory, None, fill=fill % self.config.chunk_size)
        if fill + length < size:
            return y, m, replace(state, memory=memory, keys=keys, values=values, fill=state.fill + length)
        empty = torch.zeros_like(keys)
        weights, none = memory.stream.weights, torch.zeros_like(state.fill)
        return y, m, replace(state, memory=memory, before=weights, keys=empty, values=empty, fill=none)

    def _write_ragged(
        self, x: Tensor, state: MACState, taken: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, MACState]:
        """Write and read the memory with the tokens of the slots that are taken; segments that are full then end."""
        lengths, first = taken.sum(1), taken.int().argmax(1)
        place = torch.arange(self.segment)
        moved = pick(x, (place + first.unsqueeze(1)).clamp_max(self.segment - 1), 1)
        m, memory = self.memory.step(moved, state.memory, lengths)
        m = pick(m, (place - first.unsqueeze(1)).clamp_min(0), 1)
        fill = state.fill + lengths
        full = (fill == self.segment).to(x.device).reshape(-1, 1, 1, 1)
        before = [new.where(full, old) for new, old in zip(memory.stream.weights, state.before, strict=True)]
        keys, values = (t.masked_fill(full.unsqueeze(-1), 0) for t in (keys, values))
        return m, replace(state, memory=memory, before=before, keys=keys, values=values, fill=fill % self.segment)


class Frame(NamedTuple):
    """What is the same for all segments."""

    turn: Rotation
    """Of the places in a segment."""
    mask: Tensor
    """What a token sees of what is recalled at each place, of the tokens there, and of what persists (1, 1, S, ...)."""


class SegmentTokens(NamedTuple):
    """What of tokens does not depend on the segments before them."""

    x: Tensor
    """(B, T, dim), normed."""
    gate: Tensor
    """(B, T, dim), of what is recalled."""
    asked: Tensor
    """Query of what is recalled (B, H, T, D)."""
    q: Tensor
    """(B, H, T, D), as what follows: of attention."""
    near_q: Tensor
    """Turned by the place in the segment, as near_k."""
    near_k: Tensor
    v: Tensor

    def slice(self, start: int, stop: int) -> "SegmentTokens":
        """Return the tokens from start to stop."""
        return SegmentTokens(*(t[:, start:stop] if t.ndim == 3 else t[:, :, start:stop] for t in self))
