"""Causal attention with rotary positions, full or within a sliding window, that streams.

Axes: B batch, H heads, T tokens, D features of a head, P persistent tokens, W window, K cached keys, N blocks of W.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq.mimetic import init_mimetic
from titans_seq.ragged import mask_within
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
        fresh = state is None
        state = self.initial_state(x.shape[0], k) if state is None else state
        cached, length = state.keys.shape[2], x.shape[1]
        keys, values = torch.cat([state.keys, k], 2), torch.cat([state.values, v], 2)
        missing = None  # empty slots, at front
        if not fresh:
            missing = (cached - state.count).to(x.device)
        elif cached:
            missing = torch.full((x.shape[0],), cached, device=x.device)
        if self.window is None or length + cached <= 2 * self.window:
            y = self._attend(q, keys, values, cached, missing)
        else:
            y = self._attend_blocks(q, keys, values, missing)
        return self.output(y.transpose(1, 2).flatten(2)), self._next(keys, values, state, length, lengths)

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, cached: int, missing: Tensor | None) -> Tensor:
        """Attend with q (B, H, T, D), the last T of the keys its own, all in one piece."""
        span = keys.shape[2]
        place = torch.arange(span, device=q.device)
        distance = place[cached:].unsqueeze(1) - place  # (T, K + T)
        allowed = distance >= 0
        if self.window is not None:
            allowed = allowed & (distance < self.window)
        mask = allowed.expand(1, 1, *allowed.shape)
        if missing is not None:
            mask = mask & (place >= missing.unsqueeze(1))[:, None, None]
        return self.attend(q, keys, values, mask, place[cached:], place)

    def _attend_blocks(self, q: Tensor, keys: Tensor, values: Tensor, missing: Tensor | None) -> Tensor:
        """Attend over long runs with a window: blocks of W queries see 2 W keys; linear in T."""
        window = self.window or 1
        batch, heads, length, size = q.shape
        blocks = -(-length // window)
        right = blocks * window - length
        # one empty slot in front makes the cache a whole block; the last block is filled up behind
        keys, values = (F.pad(t, (0, 0, window - (t.shape[2] - length), right)) for t in (keys, values))
        queries = F.pad(q, (0, 0, 0, right)).unflatten(2, (blocks, window))
        near_keys, near_values = (t.unfold(2, 2 * window, window).transpose(-1, -2) for t in (keys, values))
        place = torch.arange(2 * window, device=q.device)
        distance = place[window:].unsqueeze(1) - place
        allowed = (distance >= 0) & (distance < window)  # (W, 2 W)
        start = torch.arange(blocks, device=q.device).unsqueeze(1) * window + place  # (N, 2 W)
        empty = 1 if missing is None else 1 + missing.reshape(-1, 1, 1)
        mask = allowed & (start >= empty).reshape(-1, 1, blocks, 1, 2 * window)
        y = self.attend(queries, near_keys, near_values, mask, place[window:], place)
        return y.flatten(2, 3)[:, :, :length].reshape(batch, heads, length, size)

    def attend(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor, q_place: Tensor, k_place: Tensor) -> Tensor:
        """Attend over the keys that `mask` allows and over the persistent ones, which all tokens see."""
        scale = q.shape[-1] ** -0.5
        near_q, near_k = rotate(q, q_place), rotate(keys, k_place)
        if self.persistent is None:
            return F.scaled_dot_product_attention(near_q, near_k, values, mask, scale=scale)
        k, v = (t.reshape(t.shape[0], *[1] * (q.ndim - 4), *t.shape[1:]).expand(*q.shape[:-2], -1, -1)
                for t in self.persistent.to(q.dtype))  # fmt: skip
        joined_q = torch.cat([near_q, q], -1)
        joined_k = torch.cat([F.pad(near_k, (0, q.shape[-1])), F.pad(k, (q.shape[-1], 0))], -2)
        mask = F.pad(mask, (0, k.shape[-2]), value=True)
        return F.scaled_dot_product_attention(joined_q, joined_k, torch.cat([values, v], -2), mask, scale=scale)

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
        return AttentionState(_pick(keys, index), _pick(values, index), count)


def _compact_cache(keys: Tensor, values: Tensor, count: Tensor, lengths: Tensor, cached: int) -> AttentionState:
    """Return a full cache of rows of different lengths: every row's tokens moved to the end, empty slots in front."""
    total = count + lengths
    size = int(total.max())
    # slot s of row b holds the row's token s - (size - total_b); cached tokens end at `cached`, new ones follow
    index = torch.arange(size) - (size - total).unsqueeze(1) + (cached - count).unsqueeze(1)
    index = index.clamp_min(0).to(keys.device)
    real = mask_within(total, size).flip(1).to(keys.device)[:, None, :, None]
    empty = keys.new_zeros(())
    return AttentionState(_pick(keys, index).where(real, empty), _pick(values, index).where(real, empty), total)


def _pick(t: Tensor, index: Tensor) -> Tensor:
    return t.gather(2, index[:, None, :, None].expand(-1, t.shape[1], -1, t.shape[3]))


def rotate(x: Tensor, place: Tensor) -> Tensor:
    """Return rotary position embedding of x (..., T, D) at places (T,): pairs of features turn by place x frequency."""
    half = x.shape[-1] // 2
    frequency = BASE ** (-torch.arange(half, device=x.device, dtype=torch.float64) / max(1, half))
    angle = (place.to(torch.float64).unsqueeze(-1) * frequency).to(torch.promote_types(x.dtype, torch.float32))
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], -1)
