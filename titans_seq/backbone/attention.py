"""Causal attention with rotary positions, full or within a sliding window, that streams.

Axes: B batch, H heads, T tokens, D features of a head, P persistent tokens, W window, K cached keys, N blocks of W.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq.mimetic import init_mimetic
from titans_seq.ragged import mask_within, pick
from titans_seq.state import State, check_counter

BASE = 10_000.0
"""Of the rotary frequencies (arXiv 2104.09864)."""


@dataclass
class AttentionState(State):
    """Keys (before rotation) and values that later tokens still see."""

    keys: Tensor
    """(B, H, K, D), the newest last; K is the window less one, or all tokens so far without a window."""
    values: Tensor
    """(B, H, K, D)."""
    count: Tensor
    """Slots of the cache that hold a token (B,), int64 on the processor."""

    def check_counters(self) -> None:
        """See `State.check_counters`."""
        check_counter(self.count, 0, self.keys.shape[2], "count")


class Attention(nn.Module):
    """Softmax attention of each token over itself, the `window - 1` tokens before it, and persistent tokens.

    Positions are relative: keys are rotated anew in each call, by their distance from it, so angles stay small in a
    stream of any length. Persistent keys carry no position, which is why the query is used twice, rotated for the
    keys of the window and plain for the persistent ones.
    """

    def __init__(self, dim: int, heads: int, window: int | None, persistent: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.project = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        init_mimetic(self.project.weight, self.output.weight)
        size = dim // heads
        self.persistent = nn.Parameter(torch.randn(2, heads, persistent, size) / size**0.5) if persistent else None

    def initial_state(self, batch: int, like: Tensor) -> AttentionState:
        """Return the state before the first token."""
        slots = 0 if self.window is None else self.window - 1
        empty = like.new_zeros(batch, self.heads, slots, self.project.in_features // self.heads)
        return AttentionState(empty, empty, torch.zeros(batch, dtype=torch.long))

    def step(self, x: Tensor, state: AttentionState | None, lengths: Tensor | None) -> tuple[Tensor, AttentionState]:
        """Run x (B, T, dim), padded on the right past `lengths`."""
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        start = self.initial_state(x.shape[0], k) if state is None else state
        both = torch.cat([start.keys, k], 2), torch.cat([start.values, v], 2)
        after = self._next(*both, start, x.shape[1], lengths)
        # at the start of a stream all slots are empty: leave them out
        keys, values = (k, v) if state is None else both
        missing = None if state is None else (state.keys.shape[2] - state.count).to(x.device)
        if self.window is None or keys.shape[2] <= 2 * self.window:
            y = self._attend(q, keys, values, missing)
        else:
            y = self._attend_blocks(q, keys, values, missing)
        return self.output(y.transpose(1, 2).flatten(2)), after

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, missing: Tensor | None) -> Tensor:
        """Attend with q (B, H, T, D), the last T of the keys its own, all in one piece."""
        cached = keys.shape[2] - q.shape[2]
        place = torch.arange(keys.shape[2], device=q.device)
        distance = place[cached:].unsqueeze(1) - place  # (T, K + T)
        seen = distance >= 0
        if self.window is not None:
            seen = seen & (distance < self.window)
        seen = seen.expand(1, 1, *seen.shape)
        if missing is not None:
            seen = seen & (place >= missing.unsqueeze(1))[:, None, None]
        turn = rotation(place, q)
        near = (rotate(q, turn.at(slice(cached, None))), rotate(keys, turn))
        return self.attend(q, *near, values, self.mask(seen, q))

    def _attend_blocks(self, q: Tensor, keys: Tensor, values: Tensor, missing: Tensor | None) -> Tensor:
        """Attend over long runs with a window: blocks of W queries see 2 W keys; linear in T."""
        window = self.window or 1
        batch, length = q.shape[0], q.shape[2]
        blocks = -(-length // window)
        right = blocks * window - length

        def cut(t: Tensor, left: int) -> Tensor:
            pieces: Tensor = F.pad(t, (0, 0, left, right)).unflatten(2, (-1, window))
            return pieces.transpose(1, 2)  # (B, blocks, H, W, D)

        queries = cut(q, 0).flatten(0, 1)
        # empty slots in front make the cache a whole block; the last block is filled up behind
        front = window - (keys.shape[2] - length)
        both = (cut(t, front) for t in (keys, values))
        keys, values = (torch.cat([t[:, :-1], t[:, 1:]], 3).flatten(0, 1) for t in both)
        place = torch.arange(2 * window, device=q.device)
        distance = place[window:].unsqueeze(1) - place
        start = torch.arange(blocks, device=q.device).unsqueeze(1) * window + place  # (N, 2 W)
        empty = front if missing is None else front + missing.reshape(-1, 1, 1)
        seen = ((distance >= 0) & (distance < window)) & (start >= empty).reshape(-1, blocks, 1, 2 * window)
        mask = self.mask(seen.unsqueeze(2), q).expand(batch, -1, -1, -1, -1).flatten(0, 1)
        turn = rotation(place, q)
        near = (rotate(queries, turn.at(slice(window, None))), rotate(keys, turn))
        near_y = self.attend(queries, *near, values, mask)  # (B N, H, W, D)
        y: Tensor = near_y.unflatten(0, (batch, blocks)).transpose(1, 2).flatten(2, 3)
        return y[:, :, :length]

    def attend(self, q: Tensor, near_q: Tensor, near_k: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Attend over near keys, with turned queries, and with plain ones over the persistent keys, as `mask` says."""
        scale, size = q.shape[-1] ** -0.5, q.shape[-1]
        if self.persistent is None:
            return F.scaled_dot_product_attention(near_q, near_k, values, mask, scale=scale)
        k, v = (t.expand(q.shape[0], -1, -1, -1) for t in self.persistent.to(q.dtype))
        near_q = torch.cat([near_q, q], -1)
        near_k = torch.cat([F.pad(near_k, (0, size)), F.pad(k, (size, 0))], -2)
        return F.scaled_dot_product_attention(near_q, near_k, torch.cat([values, v], -2), mask, scale=scale)

    def mask(self, seen: Tensor, like: Tensor) -> Tensor:
        """Return what is added to scores, of which near keys are seen (..., T, K): (..., T, K + P)."""
        if self.persistent is not None:
            seen = F.pad(seen, (0, self.persistent.shape[2]), value=True)
        return like.new_zeros(seen.shape).masked_fill_(~seen, -torch.inf)

    def _next(
        self, keys: Tensor, values: Tensor, state: AttentionState, length: int, lengths: Tensor | None
    ) -> AttentionState:
        """Return what stays in the cache behind the last real token of each row."""
        cached = state.keys.shape[2]
        taken = torch.full_like(state.count, length) if lengths is None else lengths
        if self.window is None:
            if lengths is not None and bool((lengths != length).any()):
                return _compact_cache(keys, values, state.count, lengths, cached)
            return AttentionState(keys, values, state.count + taken)
        slots = self.window - 1
        count = (state.count + taken).clamp_max(slots)
        if lengths is None:
            # not views, which would keep all of the keys alive
            return AttentionState(keys[:, :, length:].clone(), values[:, :, length:].clone(), count)
        index = (lengths.unsqueeze(1) + torch.arange(slots)).to(keys.device)
        return AttentionState(pick(keys, index, 2), pick(values, index, 2), count)


def _compact_cache(keys: Tensor, values: Tensor, count: Tensor, lengths: Tensor, cached: int) -> AttentionState:
    """Return a full cache of rows of different lengths: every row's tokens moved to the end, empty slots in front."""
    total = count + lengths
    size = int(total.max())
    # slot s of row b holds the row's token s - (size - total_b); cached tokens end at `cached`, new ones follow
    index = torch.arange(size) - (size - total).unsqueeze(1) + (cached - count).unsqueeze(1)
    index = index.clamp_min(0).to(keys.device)
    real = mask_within(total, size).flip(1).to(keys.device)[:, None, :, None]
    empty = keys.new_zeros(())
    return AttentionState(pick(keys, index, 2).where(real, empty), pick(values, index, 2).where(real, empty), total)


class Rotation(NamedTuple):
    """Angles of a rotary position embedding at places (T,)."""

    cos: Tensor
    """(T, D / 2)."""
    sin: Tensor

    def at(self, rows: slice | Tensor) -> "Rotation":
        """Return the angles of some of the places."""
        return Rotation(self.cos[rows], self.sin[rows])


def rotation(place: Tensor, like: Tensor) -> Rotation:
    """Return the angles at places (T,), for features (..., D) of the dtype of `like`: place x frequency."""
    half = like.shape[-1] // 2
    frequency = BASE ** (-torch.arange(half, device=place.device, dtype=torch.float64) / max(1, half))
    angle = (place.to(torch.float64).unsqueeze(-1) * frequency).to(torch.promote_types(like.dtype, torch.float32))
    return Rotation(angle.cos().to(like.dtype), angle.sin().to(like.dtype))


def rotate(x: Tensor, turn: Rotation) -> Tensor:
    """Return x (..., T, D) with its pairs of features turned."""
    half = x.shape[-1] // 2
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * turn.cos - b * turn.sin, a * turn.sin + b * turn.cos, rest], -1)
