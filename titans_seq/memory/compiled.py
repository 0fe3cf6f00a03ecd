"""The memory's kernels behind autograd; where they cannot be used, `scan.py`, `stream.py`, `convolve.py` and
`neural.py` do the same in torch.

Axes: B batch, H heads, T tokens, D features of a head, O / I outputs / inputs of a memory layer.
"""

from collections.abc import Sequence
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
    numbers: tuple[float, float, float],
    anchor: Sequence[Tensor] | None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Do what `functional.scan_chunks` does; without momentum the surprise list is empty.

    Args:
        numbers: the clip, 0 for none, and `Activation.shifted`.
    """
    matrices = Matrices.of(tokens.q, weights, None if tokens.momentum is None else surprise, anchor)
    given = [*kernel_tokens(tokens), *(m for kind in matrices for m in kind)]
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
    y, *after = call(KernelScan, (chunk_size, numbers, matrices.counts, wanted), *given)
    return y, after[: len(weights)], after[len(weights) :]


class KernelScan(torch.autograd.Function):
    """`scan.cpp` behind autograd; first derivatives only."""

    @staticmethod
    def forward(
        ctx: Any, plan: tuple[int, tuple[float, float, float], tuple[int, ...], bool], *given: Tensor
    ) -> tuple[Tensor, ...]:
        """Run; plan: chunk size, numbers, matrices of each kind, whether to keep what gradients need."""
        ctx.plan = plan
        chunk_size, numbers, counts, keep = plan
        run = torch.ops.titans_seq.scan_forward
        y, weights, surprise, starts = run(*split(given, counts), chunk_size, *numbers, keep)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given, *starts)
        return (y, *weights, *surprise)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor | None, *d_after: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return gradients of all tensors."""
        chunk_size, numbers, counts, _ = ctx.plan
        given, starts = ctx.saved_tensors[: 6 + sum(counts)], ctx.saved_tensors[6 + sum(counts) :]
        return (None, *scan_backward_rows(given, counts, starts, chunk_size, numbers, d_y, d_after))


def scan_backward_rows(
    given: Sequence[Tensor],
    counts: tuple[int, ...],
    starts: Sequence[Tensor],
    chunk_size: int,
    numbers: tuple[float, float, float],
    d_y: Tensor | None,
    d_after: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return the gradients of `given` from those of y, and of weights and surprise behind the last token."""
    *tokens, weights, surprise, anchor = split(given, counts)
    depth, (q, _, v) = len(weights or anchor), tokens[:3]
    d_y = q.new_zeros(*q.shape[:3], v.shape[-1]) if d_y is None else _rows(d_y)
    after: list[Tensor] = []
    if any(d is not None for d in d_after):
        like = [w for _ in range(len(d_after) // depth) for w in weights or anchor]
        pairs = zip(d_after, like, strict=True)
        after = [w.new_zeros(q.shape[0], *w.shape[1:]) if d is None else d.contiguous() for d, w in pairs]
    found: list[Tensor | None] = torch.ops.titans_seq.scan_backward(
        d_y, after[:depth], after[depth:], *tokens, weights, surprise, anchor, starts, chunk_size, *numbers
    )
    return [None if g is None else f for f, g in zip(found, given, strict=True)]


def split(given: Sequence[Any], counts: tuple[int, ...]) -> list[Any]:
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


def kernel_tokens(tokens: Tokens) -> list[Tensor | None]:
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
