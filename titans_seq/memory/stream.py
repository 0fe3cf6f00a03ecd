"""Tokens that go on from the middle of a stream, by the kernel where it can be used.

Axes: B batch, H heads, T tokens, D features of a head, I / O inputs / outputs of a memory layer.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from titans_seq import kernel
from titans_seq.memory import compiled_stream
from titans_seq.memory.activation import kernel_numbers
from titans_seq.memory.config import MemoryConfig
from titans_seq.memory.functional import scan
from titans_seq.memory.open_chunk import StreamState, advance_ragged, fold, open_stream, put_tokens
from titans_seq.memory.tokens import Tokens


def advance(
    tokens: Tokens,
    state: StreamState | None,
    first: list[Tensor],
    lengths: Tensor | None,
    config: MemoryConfig,
    norms: list[Tensor] | None = None,
    fill: int | None = None,
) -> tuple[Tensor, StreamState]:
    """Take tokens in: returns y (B, H, T, D) and the state behind them.

    Args:
        tokens: T >= 1; with `lengths`, those past a row's length are padding.
        state: None begins a stream.
        first: M_0, (1, H, O, I) per layer, with which a stream begins.
        lengths: (B,) int64 on the processor, or None if all T tokens of every row are real.
        norms: a list that takes the surprise norms, (B, H, ...) tensors that add up to (B, H, T).
        fill: tokens in the open chunk, if it is known to be the same in every row; None looks.
    """
    batch, _, length, _ = tokens.q.shape
    size = config.chunk_size
    if state is None:
        fill = 0
    elif fill is None:
        fill = int(state.fill[0])
        if lengths is None and bool((state.fill != fill).any()):
            lengths = torch.full_like(state.fill, length)
    anchor = _anchor(first, config)
    weights, surprise = (first, None) if state is None else (state.weights, state.surprise)
    known = kernel_numbers(config.activation, config.clip) is not None
    compiles = norms is None and known and not config.online and kernel.is_usable(tokens.q)
    # of rows alike, the scan of whole chunks goes backwards without going forwards once more
    scans = lengths is None and (state is None or torch.is_grad_enabled())
    if compiles and not scans:
        state = open_stream(weights, surprise, batch, config) if state is None else state
        return _advance_compiled(tokens, state, weights, surprise, anchor, lengths, config)
    if lengths is not None:
        state = open_stream(weights, surprise, batch, config) if state is None else state
        return advance_ragged(tokens, state, anchor, lengths, config, norms)
    outputs, position = [], 0
    while position < length:
        stop = min(position + size - fill, length)
        if config.online:
            stop = length  # exact at any cut: no chunk is ever left open
        elif fill == 0 and stop == position + size:
            stop = length - (length - position) % size
        part = tokens.slice(position, stop)
        if config.online or stop - position >= size:
            y, weights, carried = scan(
                part, weights, surprise, chunk_size=size, activation=config.activation, online=config.online,
                clip=config.clip, anchor=anchor, norms=norms,
            )  # fmt: skip
            surprise = carried if config.momentum else None
            state = None
        else:
            if state is None:
                state = open_stream(weights, surprise, batch, config)
            if compiles:
                y, state = _advance_compiled(part, state, weights, surprise, anchor, None, config)
            else:
                y, state = _extend(part, state, weights, surprise, anchor, fill, config, norms)
            weights, surprise = state.weights, state.surprise
            fill = (fill + stop - position) % size
        outputs.append(y)
        position = stop
    if state is None:
        state = open_stream(weights, surprise, batch, config)
    return torch.cat(outputs, 2), state


def _advance_compiled(
    tokens: Tokens,
    state: StreamState,
    weights: list[Tensor],
    surprise: list[Tensor] | None,
    anchor: list[Tensor] | None,
    lengths: Tensor | None,
    config: MemoryConfig,
) -> tuple[Tensor, StreamState]:
    """Do what `advance` does in one call of the kernel.

    `weights` and `surprise` are the state's, or what they were expanded from (cheaper: shared rows, None for zero).
    """
    lengths = torch.full_like(state.fill, tokens.q.shape[2]) if lengths is None else lengths
    numbers = kernel_numbers(config.activation, config.clip)
    assert numbers is not None
    in_torch = partial(_advance_in_torch, fill=state.fill, lengths=lengths, config=config)
    y, matrices, written = compiled_stream.advance(
        tokens, weights, surprise, anchor, state.written(), state.fill, lengths, numbers, in_torch
    )
    state = replace(state.with_written(written), fill=(state.fill + lengths) % config.chunk_size)
    if matrices is not None:
        depth = len(weights)
        state = replace(state, weights=matrices[:depth], surprise=matrices[depth:] or state.surprise)
    return y, state


def _advance_in_torch(
    tokens: Tokens,
    weights: list[Tensor],
    surprise: list[Tensor] | None,
    anchor: list[Tensor] | None,
    written: Sequence[Tensor],
    fill: Tensor,
    lengths: Tensor,
    config: MemoryConfig,
) -> tuple[Tensor, list[Tensor]]:
    """Do what `_advance_compiled` does; returns y and, in one list, weights, surprise with momentum, `written`."""
    state = replace(open_stream(weights, surprise, len(fill), config).with_written(written), fill=fill)
    offset, length = int(fill[0]), tokens.q.shape[2]
    if offset + length <= config.chunk_size and not bool((fill != offset).any() or (lengths != length).any()):
        y, state = _extend(tokens, state, weights, surprise, anchor, offset, config, None)
    else:
        y, state = advance_ragged(tokens, state, anchor, lengths, config, None)
    return y, [*state.weights, *(state.surprise if config.momentum else []), *state.written()]


def _extend(
    tokens: Tokens,
    state: StreamState,
    weights: list[Tensor],
    surprise: list[Tensor] | None,
    anchor: list[Tensor] | None,
    fill: int,
    config: MemoryConfig,
    norms: list[Tensor] | None,
) -> tuple[Tensor, StreamState]:
    """Put tokens into the open chunk, which has room for them, behind the `fill` that every row has there, in torch."""
    y, written = put_tokens(tokens, weights, surprise, anchor, state.written(), fill, config, None, norms)
    length = tokens.q.shape[2]
    state = replace(state.with_written(written), fill=state.fill + length)
    return y, fold(state, anchor, config) if fill + length == config.chunk_size else state


def _anchor(first: list[Tensor], config: MemoryConfig) -> list[Tensor] | None:
    return first if config.forget and config.forget_to == "initial" else None
