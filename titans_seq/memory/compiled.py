"""The memory's kernels behind autograd; where they cannot be used, `scan.py`, `stream.py`, `convolve.py` and
`neural.py` do the same in torch.

Axes: B batch, H heads, T tokens, D features of a head, O / I outputs / inputs of a memory layer.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from titans_seq.kernel import call
from titans_seq.memory.tokens import Tokens


class Matrices(NamedTuple):
    """The matrices of a memory, (B, H, O, I) per layer each."""

    weights: Sequence[Tensor]
    """None at all where they are the anchor."""
    surprise: Sequence[Tensor]
    """None at all where it is zero."""
    anchor: Sequence[Tensor]
    """None at all where forgetting leads to zero."""

    @classmethod
    def of(
        cls,
        like: Tensor,
        weights: Sequence[Tensor],
        surprise: Sequence[Tensor] | None,
        anchor: Sequence[Tensor] | None,
    ) -> "Matrices":
        """Return them as the kernel takes them, with the dtype and batch of `like`."""
        fresh = anchor is not None and not surprise and all(a is w for a, w in zip(anchor, weights, strict=True))
        kinds = (() if fresh else weights, surprise or (), anchor or ())
        return cls(*([_matrices(m, like) for m in kind] for kind in kinds))

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the matrices of each kind."""
        return tuple(map(len, self))


def scan_rows(
    tokens: Tokens,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    chunk_size: int,
    clip: float | None,
    anchor: Sequence[Tensor] | None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Do what `functional.scan_chunks` does; without momentum the surprise list is empty."""
    matrices = Matrices.of(tokens.q, weights, None if tokens.momentum is None else surprise, anchor)
    given = [*_given(tokens), *(m for kind in matrices for m in kind)]
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
    y, *after = call(KernelScan, (chunk_size, clip or 0.0, matrices.counts, wanted), *given)
    return y, after[: len(weights)], after[len(weights) :]


class KernelScan(torch.autograd.Function):
    """`scan.cpp` behind autograd; first derivatives only."""

    @staticmethod
    def forward(ctx: Any, plan: tuple[int, float, tuple[int, ...], bool], *given: Tensor) -> tuple[Tensor, ...]:
        """Run; plan: chunk size, clip, matrices of each kind, whether gradients may follow; given: tokens, matrices."""
        ctx.plan = plan
        chunk_size, clip, counts, keep = plan
        y, weights, surprise, starts = torch.ops.titans_seq.scan_forward(*_split(given, counts), chunk_size, clip, keep)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given, *starts)
        return (y, *weights, *surprise)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor | None, *d_after: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return gradients of all tensors."""
        chunk_size, clip, counts, _ = ctx.plan
        given, starts = ctx.saved_tensors[: 6 + sum(counts)], ctx.saved_tensors[6 + sum(counts) :]
        return (None, *_backward(given, counts, starts, chunk_size, clip, d_y, d_after))


def _backward(
    given: Sequence[Tensor],
    counts: tuple[int, ...],
    starts: Sequence[Tensor],
    chunk_size: int,
    clip: float,
    d_y: Tensor | None,
    d_after: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return the gradients of `given` from those of y, and of weights and surprise behind the last token."""
    *tokens, weights, surprise, anchor = _split(given, counts)
    depth, (q, _, v) = len(weights or anchor), tokens[:3]
    d_y = q.new_zeros(*q.shape[:3], v.shape[-1]) if d_y is None else _rows(d_y)
    after: list[Tensor] = []
    if any(d is not None for d in d_after):
        like = [w for _ in range(len(d_after) // depth) for w in weights or anchor]
        pairs = zip(d_after, like, strict=True)
        after = [w.new_zeros(q.shape[0], *w.shape[1:]) if d is None else d.contiguous() for d, w in pairs]
    found: list[Tensor | None] = torch.ops.titans_seq.scan_backward(
        d_y, after[:depth], after[depth:], *tokens, weights, surprise, anchor, starts, chunk_size, clip
    )
    return [None if g is None else f for f, g in zip(found, given, strict=True)]


def extend(
    tokens: Tokens,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    anchor: Sequence[Tensor] | None,
    written: Sequence[Tensor],
    fill: int,
    clip: float | None,
    in_torch: Callable[..., tuple[Tensor, Sequence[Tensor]]],
) -> tuple[Tensor, list[Tensor]]:
    """Put tokens into the open chunk of a stream; see `stream._extend`, whose arguments these are.

    Args:
        written: what the open chunk holds, inputs and errors per layer, then read, write and scales.
        in_torch: does the same in torch, `in_torch(tokens, weights, surprise, anchor, written)`; gradients of what
            the kernel has none for come from there.

    Returns:
        y (B, H, T, D), and what the open chunk holds then.
    """
    matrices = Matrices.of(tokens.q, weights, None if tokens.momentum is None else surprise, anchor)
    like = tokens.q
    given = [*_given(tokens), *(m for kind in matrices for m in kind), *(t.to(like.dtype) for t in written)]
    y, *after = call(KernelExtend, (fill, clip or 0.0, matrices.counts, in_torch), *given)
    return y, after


class KernelExtend(torch.autograd.Function):
    """Tokens that go into an open chunk, behind autograd; first derivatives only."""

    @staticmethod
    def forward(ctx: Any, plan: tuple[int, float, tuple[int, ...], Any], *given: Tensor) -> tuple[Tensor, ...]:
        """Run; plan: fill, clip, matrices of each kind, the same in torch; given: tokens, matrices, the open chunk."""
        ctx.plan = plan
        fill, clip, counts, _ = plan
        *tokens, weights, surprise, anchor = _split(given, counts)
        *written, read, write, scales = given[6 + sum(counts) :]
        half = len(written) // 2
        y, inputs, errors, rows = torch.ops.titans_seq.scan_extend(
            *tokens, weights, surprise, anchor, written[:half], written[half:], read, write, scales, fill, clip
        )
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given)
        return (y, *inputs, *errors, *rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor | None, *d_after: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return gradients of all tensors; by torch, unless a new chunk's outputs alone have led anywhere."""
        fill, clip, counts, in_torch = ctx.plan
        given, first = ctx.saved_tensors, 6 + sum(counts)
        if fill == 0 and not any(d is not None for d in d_after):
            found = _backward(given[:first], counts, (), given[0].shape[2], clip, d_y, ())
            return (None, *found, *[None] * (len(given) - first))
        with torch.enable_grad():
            leaves = [None if t is None else t.detach().requires_grad_() for t in given]
            *tokens, weights, surprise, anchor = _split(leaves, counts)
            y, after = in_torch(Tokens(*tokens), weights or anchor, surprise or None, anchor or None, leaves[first:])
            pairs = [(o, d) for o, d in zip((y, *after), (d_y, *d_after), strict=True) if d is not None]
            wanted = [t for t in leaves if t is not None]
            outputs, d_outputs = [o for o, _ in pairs], [d for _, d in pairs]
            gradients = iter(torch.autograd.grad(outputs, wanted, d_outputs, allow_unused=True))
        return (None, *(None if t is None else next(gradients) for t in leaves))


def _split(given: Sequence[Any], counts: tuple[int, ...]) -> list[Any]:
    """Return the six of tokens, then weights, surprise and anchor, a list each."""
    first, second, third = (6 + sum(counts[:n]) for n in range(3))
    return [*given[:6], list(given[first:second]), list(given[second:third]), list(given[third : third + counts[2]])]


def convolve(x: Tensor, tail: Tensor, weight: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return q, k, v (B, H, T, D) and the gate (B, T, H D), as `convolve.memory_inputs`.

    Args:
        x: (B, T, 4 H D).
        tail: (B, K - 1, 3 H D), what stands before x.
        weight: (3 H D, K).
    """
    q, k, v, gate = call(KernelConvolve, _rows(x), _rows(tail), weight.contiguous(), heads)
    return q, k, v, gate


class KernelConvolve(torch.autograd.Function):
    """`convolve.cpp` behind autograd; first derivatives only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tail: Tensor, weight: Tensor, heads: int) -> tuple[Tensor, ...]:
        """See `convolve`."""
        ctx.heads = heads
        ctx.save_for_backward(x, tail, weight)
        return tuple(torch.ops.titans_seq.convolve_forward(x, tail, weight, heads))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_out: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of x, tail and weight."""
        d_x, d_tail, d_weight = torch.ops.titans_seq.convolve_backward(
            [_rows(d) for d in d_out], *ctx.saved_tensors, ctx.heads
        )
        return d_x, d_tail, d_weight, None


def gate_output(y: Tensor, gate: Tensor, weight: Tensor) -> Tensor:
    """Return (B, T, H D): each head of y (B, H, T, D), rms normed, times weight (D) and gate (B, T, H D)."""
    out: Tensor = call(KernelGate, _rows(y), gate.contiguous(), weight.contiguous())
    return out


class KernelGate(torch.autograd.Function):
    """`gate.cpp` behind autograd; first derivatives only."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, gate: Tensor, weight: Tensor) -> Tensor:
        """See `gated`."""
        ctx.save_for_backward(y, gate, weight)
        out: Tensor = torch.ops.titans_seq.gate_forward(y, gate, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return gradients of y, gate and weight."""
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.titans_seq.gate_backward(
            d_out.contiguous(), *ctx.saved_tensors
        )
        return found


def _given(tokens: Tokens) -> list[Tensor | None]:
    """Return q, k, v and the gates as the kernel takes them: of one dtype."""
    dtype = tokens.q.dtype
    rows = [_rows(t.to(dtype)) for t in tokens[:3]]
    return [*rows, *(None if g is None else g.to(dtype) for g in tokens[3:])]


def _rows(t: Tensor) -> Tensor:
    """Return tokens (..., T, D) with each token's features side by side."""
    if t.stride(-1) == 1 and t.stride(-2) >= t.shape[-1]:
        return t
    return t.clone(memory_format=torch.contiguous_format)  # `contiguous` overlooks strides of axes of length 1


def _matrices(t: Tensor, like: Tensor) -> Tensor:
    """Return (B, H, O, I), or (1, H, O, I) that all rows share, with each matrix in one piece."""
    t = t.to(like.dtype)
    if t.stride(-1) == 1 and t.stride(-2) == t.shape[-1]:
        return t
    return t.clone(memory_format=torch.contiguous_format)
