"""A memory in the middle of a stream: what its open chunk has written, and how tokens go into it, in torch.

Axes: B batch, H heads, T tokens, C slots of a chunk, D features of a head, I / O inputs / outputs of a memory layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from titans_seq.memory.config import MemoryConfig
from titans_seq.memory.functional import ChunkGradients, carry, read, write, write_online
from titans_seq.memory.gates import Gates, chunk_gates
from titans_seq.memory.scan import surprise_norm
from titans_seq.memory.tokens import Tokens
from titans_seq.ragged import align, pick
from titans_seq.state import State, check_counter


@dataclass
class StreamState(State):
    """The memory at the start of the open chunk, and what the open chunk has written so far.

    Slots that no token has taken yet are zero. Its size is the same at any point of the stream.
    """

    weights: list[Tensor]
    """(B, H, O, I) per layer."""
    surprise: list[Tensor]
    """The same shapes."""
    inputs: list[Tensor]
    """X_l (B, H, C, I)."""
    errors: list[Tensor]
    """delta_l (B, H, C, O)."""
    read: Tensor
    """Row of G after the last token (B, H, C)."""
    write: Tensor
    """Row of N after the last token (B, H, C)."""
    scales: Tensor
    """beta, f, m after the last token (B, H, 3)."""
    fill: Tensor
    """Tokens in the open chunk (B,), int64 on the processor."""

    def check_counters(self) -> None:
        """See `State.check_counters`."""
        check_counter(self.fill, 0, self.read.shape[2] - 1, "fill")

    def written(self) -> list[Tensor]:
        """Return what the open chunk holds: inputs and errors per layer, then read, write and scales."""
        return [*self.inputs, *self.errors, self.read, self.write, self.scales]

    def with_written(self, written: Sequence[Tensor]) -> "StreamState":
        """Return this state with another content of the open chunk, as `written` lists it."""
        *both, read, write, scales = written
        depth = len(self.weights)
        return replace(
            self, inputs=list(both[:depth]), errors=list(both[depth:]), read=read, write=write, scales=scales
        )


def open_stream(weights: list[Tensor], surprise: list[Tensor] | None, batch: int, config: MemoryConfig) -> StreamState:
    """Return a stream at the start of a chunk: weights (B, H, O, I) or (1, H, O, I), and the surprise (None: zero)."""
    heads, slots = config.heads, config.chunk_size
    zero = weights[0].new_zeros(())  # one number in memory, seen as many: nothing is ever written in place

    def empty(*shape: int) -> Tensor:
        return zero.expand(batch, heads, *shape)

    scales = weights[0].new_zeros(3)
    scales[::2] = 1
    return StreamState(
        weights=[w.expand(batch, -1, -1, -1) for w in weights],
        surprise=[empty(*w.shape[2:]) for w in weights] if surprise is None else surprise,
        inputs=[empty(slots, w.shape[-1]) for w in weights],
        errors=[empty(slots, w.shape[-2]) for w in weights],
        read=empty(slots),
        write=empty(slots),
        scales=scales.expand(batch, heads, 3),
        fill=torch.zeros(batch, dtype=torch.long),
    )


def put_tokens(
    tokens: Tokens,
    weights: list[Tensor],
    surprise: list[Tensor] | None,
    anchor: list[Tensor] | None,
    written: Sequence[Tensor],
    offset: int,
    config: MemoryConfig,
    real: Tensor | None,
    norms: list[Tensor] | None,
) -> tuple[Tensor, list[Tensor]]:
    """Put tokens into the open chunk's slots from `offset` on; `real` (B, 1, c) marks slots that hold a token.

    From and to `StreamState.written`. The gates of the new tokens are composed with those of the slots already taken:
    with a prefix that ends in G_p, N_p, beta_p, f_p, m_p, a new row has G = [beta G_p + f N_p | G_new], beta beta_p,
    beta f_p + f m_p, m m_p.
    """
    *before, read_before, write_before, scales_before = written
    inputs_before, errors_before = before[: len(weights)], before[len(weights) :]
    room = (offset, config.chunk_size - offset - tokens.q.shape[2])
    new = chunk_gates(tokens.step_size, tokens.momentum, tokens.forget, real)
    keep_p, past_p, momentum_p = scales_before.unbind(-1)
    rows = new.keep.unsqueeze(-1) * read_before.unsqueeze(2) + F.pad(new.read, room)
    keep = new.keep * keep_p.unsqueeze(-1)
    wrote, past, momentum = write_before, None, None
    scales = [keep[..., -1], past_p, momentum_p]
    if new.past is not None and new.write is not None and new.momentum is not None:
        rows = rows + new.past.unsqueeze(-1) * write_before.unsqueeze(2)
        past = new.keep * past_p.unsqueeze(-1) + new.past * momentum_p.unsqueeze(-1)
        wrote = new.momentum.unsqueeze(-1) * write_before + F.pad(new.write, room)
        momentum = new.momentum * momentum_p
        scales = [keep[..., -1], past[..., -1], momentum]
    gates = Gates(rows, keep, past, wrote, momentum)
    if config.online:
        chunk = write_online(tokens.k, tokens.v, gates, weights, surprise, anchor)
    else:
        chunk = write(tokens.k, tokens.v, weights, config.activation, config.clip)
    if norms is not None:
        norms.append(surprise_norm(*chunk))
    inputs = [old + _slot(x, room) for old, x in zip(inputs_before, chunk.inputs, strict=True)]
    errors = [old + _slot(e, room) for old, e in zip(errors_before, chunk.errors, strict=True)]
    y = read(tokens.q, gates, ChunkGradients(inputs, errors), weights, surprise, anchor, config.activation)
    return y, [*inputs, *errors, rows[..., -1, :], wrote, torch.stack(scales, -1)]


def _slot(x: Tensor, room: tuple[int, int]) -> Tensor:
    return F.pad(x, (0, 0, *room))


def fold(state: StreamState, anchor: list[Tensor] | None, config: MemoryConfig) -> StreamState:
    """Close the open chunk of every row and open the next."""
    keep, past, momentum = state.scales.unbind(-1)
    gates = Gates(
        state.read.unsqueeze(2),
        keep.unsqueeze(-1),
        past.unsqueeze(-1) if config.momentum else None,
        state.write if config.momentum else None,
        momentum if config.momentum else None,
    )
    weights, surprise = carry(gates, ChunkGradients(state.inputs, state.errors), state.weights, state.surprise, anchor)
    return open_stream(weights, surprise if config.momentum else state.surprise, len(state.fill), config)


def _where(rows: Tensor, yes: StreamState, no: StreamState) -> StreamState:
    """Pick the rows (B,) bool from the one state, the rest from the other."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(rows.to(a.device).reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return yes.replace_tensors([pick(a, b) for a, b in zip(yes.tensors(), no.tensors(), strict=True)])


def advance_ragged(
    tokens: Tokens,
    state: StreamState,
    anchor: list[Tensor] | None,
    lengths: Tensor,
    config: MemoryConfig,
    norms: list[Tensor] | None,
) -> tuple[Tensor, StreamState]:
    """Advance rows of different lengths or at different places in their chunk.

    Row b's j-th token takes slot fill_b + j of the row's own chunks; slots before and after are padding, which
    writes nothing: q = k = v = theta = alpha = 0, eta = 1, and no surprise enters the weights there.
    """
    size, length, device = config.chunk_size, tokens.q.shape[2], tokens.q.device
    slots = align(state.fill, lengths, length, size)
    real = slots.taken.to(device).unsqueeze(1)

    def place(t: Tensor | None, empty: float) -> Tensor | None:
        if t is None:
            return None
        mask = real if t.ndim == 3 else real.unsqueeze(-1)
        return pick(t, slots.token, 2).where(mask, t.new_tensor(empty))

    placed = Tokens(*(place(t, float(name == "momentum")) for name, t in tokens._asdict().items()))  # type: ignore[arg-type]
    outputs = []
    mine: list[Tensor] | None = None if norms is None else []
    for start in range(0, slots.taken.shape[1], size):
        marked = real[:, :, start : start + size].to(tokens.step_size.dtype)
        part = placed.slice(start, start + size)
        y, written = put_tokens(part, state.weights, state.surprise, anchor, state.written(), 0, config, marked, mine)
        state = state.with_written(written)
        outputs.append(y)
        if config.online:
            state = fold(state, anchor, config)
            continue
        state.fill = state.fill + slots.taken[:, start : start + size].sum(1)
        full = state.fill == size
        if bool(full.any()):
            state = _where(full, fold(state, anchor, config), state)
    if norms is not None and mine is not None:
        norms.append(pick(torch.cat(mine, 2), slots.back, 2))
    return pick(torch.cat(outputs, 2), slots.back, 2), state
