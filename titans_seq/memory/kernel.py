"""The memory in C++ for processors, behind autograd; `build` makes it of `scan.cpp`, `convolve.cpp` and `gate.cpp`.

Without it, on other devices, and for what it does not cover, `scan.py`, `convolve.py` and `neural.py` do the same work
in torch.

Axes: B batch, H heads, T tokens, D features of a head, O / I outputs / inputs of a memory layer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from titans_seq.memory.build import kernel_ready
from titans_seq.memory.tokens import Tokens


def is_usable(x: Tensor) -> bool:
    """Return whether the kernel is ready and covers this device and dtype."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
        and kernel_ready()
    )


def scan_rows(
    tokens: Tokens,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    chunk_size: int,
    clip: float | None,
    anchor: Sequence[Tensor] | None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Do what `functional.scan_chunks` does; without momentum the surprise list is empty."""
    depth, length = len(weights), tokens.q.shape[2]
    past: Sequence[Tensor] = ()
    if tokens.momentum is not None:
        past = [torch.zeros_like(w) for w in weights] if surprise is None else surprise
    matrices = [_matrices(m, tokens.q) for m in (*weights, *past, *(anchor or ()))]
    given = _given(tokens)
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*given, *matrices))
    plan = (min(chunk_size, length), clip or 0.0, depth, wanted)
    y, *after = KernelScan.apply(plan, *given, *matrices)  # type: ignore[no-untyped-call]
    return y, after[:depth], after[depth:]


def extend(
    tokens: Tokens,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor],
    anchor: Sequence[Tensor] | None,
    inputs: Sequence[Tensor],
    errors: Sequence[Tensor],
    rows: tuple[Tensor, Tensor, Tensor],
    fill: int,
    clip: float | None,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Put tokens into the open chunk of a stream; see `stream._extend`, whose arguments these are. No gradients.

    Returns:
        y (B, H, T, D), and inputs, errors and rows (read, write, scales) behind the tokens.
    """
    carried = () if tokens.momentum is None else surprise
    matrices = [[_matrices(t, tokens.q) for t in kind] for kind in (weights, carried, anchor or (), inputs, errors)]
    taken = [r.to(tokens.q.dtype).contiguous() for r in rows]
    found: tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]] = torch.ops.titans_seq.scan_extend(
        *_given(tokens), *matrices, *taken, fill, clip or 0.0
    )
    return found


class KernelScan(torch.autograd.Function):
    """`scan.cpp` behind autograd; first derivatives only."""

    @staticmethod
    def forward(
        ctx: Any, plan: tuple[int, float, int, bool], q: Tensor, k: Tensor, v: Tensor, theta: Tensor,
        eta: Tensor | None, alpha: Tensor | None, *matrices: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Run; plan: chunk, clip, depth, whether gradients may follow; matrices: weights, surprise, anchor."""
        chunk, clip, depth, keep = plan
        middle = depth if eta is None else 2 * depth
        weights, surprise, anchor = matrices[:depth], matrices[depth:middle], matrices[middle:]
        y, weights_after, surprise_after, starts = torch.ops.titans_seq.scan_forward(
            q, k, v, theta, eta, alpha, weights, surprise, anchor, chunk, clip, keep
        )
        ctx.plan = plan
        ctx.save_for_backward(q, k, v, theta, eta, alpha, *anchor, *starts)
        return (y, *weights_after, *surprise_after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor, *d_after: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of all tensors."""
        q, k, v, theta, eta, alpha, *more = ctx.saved_tensors
        chunk, clip, depth, _ = ctx.plan
        starts = more[len(more) - depth * (1 if eta is None else 2) :]
        anchor = more[: len(more) - len(starts)]
        d_after = tuple(d.contiguous() for d in d_after)
        found = torch.ops.titans_seq.scan_backward(
            _rows(d_y), d_after[:depth], d_after[depth:], q, k, v, theta, eta, alpha, starts, anchor,
            chunk, clip,
        )  # fmt: skip
        tokens, matrices = found[:6], found[6:]
        if eta is None:
            tokens[4] = None
        if alpha is None:
            tokens[5] = None
        kinds = len(matrices) // depth
        return (None, *tokens, *(m for kind in range(kinds) for m in matrices[kind::kinds]))


def convolve(x: Tensor, tail: Tensor, weight: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return q, k, v (B, H, T, D) and the gate (B, T, H D), as `convolve.memory_inputs`.

    Args:
        x: (B, T, 4 H D).
        tail: (B, K - 1, 3 H D), what stands before x.
        weight: (3 H D, K).
    """
    q, k, v, gate = KernelConvolve.apply(_rows(x), _rows(tail), weight.contiguous(), heads)  # type: ignore[no-untyped-call]
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
    out: Tensor = KernelGate.apply(_rows(y), gate.contiguous(), weight.contiguous())  # type: ignore[no-untyped-call]
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
    """Return (B, H, O, I) with each matrix in one piece; rows of the batch may share it."""
    t = t.to(like.dtype).expand(like.shape[0], -1, -1, -1)
    if t.stride(-1) == 1 and t.stride(-2) == t.shape[-1]:
        return t
    return t.clone(memory_format=torch.contiguous_format)
