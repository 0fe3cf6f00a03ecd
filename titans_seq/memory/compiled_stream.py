"""The kernel of a stream behind autograd; where it cannot be used, `stream.py` does the same in torch.

Axes: B batch, H heads, T tokens, D features of a head.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from titans_seq.kernel import call
from titans_seq.memory.compiled import Matrices, kernel_tokens, scan_backward_rows, split
from titans_seq.memory.tokens import Tokens
from titans_seq.ragged import mask_within


class StreamPlan(NamedTuple):
    """What is known before tokens go on from the middle of a stream."""

    fill: Tensor
    """Tokens in the open chunk (B,), int64 on the processor."""
    lengths: Tensor
    """(B,) the same way: real tokens of each row."""
    chunk_size: int
    numbers: tuple[float, float, float]
    """The clip, 0 for none, and `Activation.shifted`."""
    counts: tuple[int, ...]
    """Matrices of each kind."""
    in_torch: Callable[..., tuple[Tensor, Sequence[Tensor]]]
    """Does the same in torch; see `advance`."""


def advance(
    tokens: Tokens,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    anchor: Sequence[Tensor] | None,
    written: Sequence[Tensor],
    fill: Tensor,
    lengths: Tensor,
    numbers: tuple[float, float, float],
    in_torch: Callable[..., tuple[Tensor, Sequence[Tensor]]],
) -> tuple[Tensor, list[Tensor] | None, list[Tensor]]:
    """Take tokens into a stream; see `stream.advance`.

    Args:
        written: what the open chunk holds, inputs and errors per layer, then read, write and scales.
        fill: tokens that it holds (B,), int64 on the processor.
        lengths: real tokens of each row (B,), the same way.
        numbers: see `StreamPlan`.
        in_torch: does the same in torch, `in_torch(tokens, weights, surprise, anchor, written)` -> y and, in one list,
            the two that follow below; gradients of what the kernel has none for come from there.

    Returns:
        y (B, H, T, D); weights, then surprise if there is momentum, behind the last token, or None where no row has
        closed its chunk, so that they are as before; and what the open chunk holds then.
    """
    matrices = Matrices.of(tokens.q, weights, None if tokens.momentum is None else surprise, anchor)
    dtype, size = tokens.q.dtype, written[-3].shape[-1]
    given = [*kernel_tokens(tokens), *(m for kind in matrices for m in kind), *(t.to(dtype) for t in written)]
    y, *after = call(KernelStream, StreamPlan(fill, lengths, size, numbers, matrices.counts, in_torch), *given)
    return y, after[: -len(written)] or None, after[-len(written) :]


class KernelStream(torch.autograd.Function):
    """Tokens that go on from the middle of a stream, behind autograd; first derivatives only."""

    @staticmethod
    def forward(ctx: Any, plan: StreamPlan, *given: Tensor) -> tuple[Tensor, ...]:
        """Run; given: tokens, matrices, the open chunk."""
        ctx.plan = plan
        *tokens, weights, surprise, anchor = split(given, plan.counts)
        *written, read, write, scales = given[6 + sum(plan.counts) :]
        half, rows = len(written) // 2, [read, write, scales]
        y, *after = torch.ops.titans_seq.scan_stream(
            *tokens,
            weights,
            surprise,
            anchor,
            written[:half],
            written[half:],
            rows,
            plan.fill,
            plan.lengths,
            *plan.numbers,
        )
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given)
        return (y, *(t for kind in after for t in kind))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor | None, *d_after: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return gradients of all tensors; by torch, unless outputs alone of a new stream have led anywhere."""
        plan: StreamPlan = ctx.plan
        given, first = ctx.saved_tensors, 6 + sum(plan.counts)
        length = given[0].shape[2]
        if not any(d is not None for d in d_after) and d_y is not None and not plan.fill.any():
            # what stands behind a row's last token changes nothing before it, so rows of all lengths are as one
            own, size = split(given[:first], plan.counts), min(plan.chunk_size, length)
            starts = torch.ops.titans_seq.scan_forward(*own, size, *plan.numbers, True)[3] if size < length else ()
            if bool((plan.lengths < length).any()):
                d_y = d_y * mask_within(plan.lengths, length)[:, None, :, None]
            found = scan_backward_rows(given[:first], plan.counts, starts, size, plan.numbers, d_y, ())
            return (None, *found, *[None] * (len(given) - first))
        with torch.enable_grad():
            leaves = [None if t is None else t.detach().requires_grad_() for t in given]
            *tokens, weights, surprise, anchor = split(leaves, plan.counts)
            written = leaves[first:]
            y, after = plan.in_torch(Tokens(*tokens), weights or anchor, surprise or None, anchor or None, written)
            after = after[len(after) - len(d_after) :]  # without the matrices where they are as before
            pairs = [(o, d) for o, d in zip((y, *after), (d_y, *d_after), strict=True) if d is not None]
            wanted = [t for t in leaves if t is not None]
            outputs, d_outputs = [o for o, _ in pairs], [d for _, d in pairs]
            gradients = iter(torch.autograd.grad(outputs, wanted, d_outputs, allow_unused=True))
        return (None, *(None if t is None else next(gradients) for t in leaves))
