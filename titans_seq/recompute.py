"""Training on long sequences in little memory: run a stream in segments, keep the states, recompute the rest.

Axes: B batch, T tokens.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from titans_seq.state import State

S = TypeVar("S", bound=State)


def run_in_segments(
    step: Callable[[Tensor, S], tuple[Tensor, S]], module: nn.Module, x: Tensor, state: S, size: int
) -> tuple[Tensor, S]:
    """Run `step(x, state)` over x (B, T, dim) in segments of `size` tokens; same outputs and gradients.

    Between forward and backward only the state at each segment's start is kept (arXiv 1604.06174). Unlike
    `torch.utils.checkpoint` without re-entrance no graph is built on the way, and unlike the one with, gradients of
    the module's parameters come out of `torch.autograd.grad` too.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    outputs = []
    for part in x.split(size, 1):
        tensors = state.tensors()
        y, *after = _Segment.apply(step, state, len(tensors), part, *tensors, *parameters)  # type: ignore[no-untyped-call]
        state = state.replace_tensors(after)
        outputs.append(y)
    return torch.cat(outputs, 1), state


def is_wanted(size: int | None, x: Tensor, lengths: Tensor | None) -> bool:
    """Return whether a run is long enough for segments of `size`, evenly padded, and about to be differentiated."""
    return size is not None and lengths is None and x.shape[1] > size and torch.is_grad_enabled()


class _Segment(torch.autograd.Function):
    """One segment: forward without a graph, backward by running it again with one."""

    @staticmethod
    def forward(ctx: Any, step: Any, state: State, count: int, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run a segment; tensors: the state's, `count` of them, then the parameters."""
        device = x.device.type
        ctx.step, ctx.shape, ctx.count = step, state, count
        ctx.autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        ctx.random = torch.get_rng_state(), torch.cuda.get_rng_state(x.device) if x.is_cuda else None
        ctx.save_for_backward(x, *tensors)
        y, after = step(x, state.replace_tensors(tensors[:count]))
        # a tensor that passes through unchanged must not be handed out as it came in
        out = [y, *(t.clone() if any(t is s for s in tensors) else t for t in after.tensors())]
        ctx.mark_non_differentiable(*(t for t in out if not t.is_floating_point()))
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        """Return gradients of x, of the state's tensors and of the parameters."""
        needed = ctx.needs_input_grad[3:]
        saved = [t.detach().requires_grad_(n) for t, n in zip(ctx.saved_tensors, needed, strict=True)]
        parameters = list(ctx.saved_tensors[1 + ctx.count :])
        device, dtype, enabled = ctx.autocast
        with (
            torch.enable_grad(),
            torch.autocast(device, dtype=dtype, enabled=enabled),
            torch.random.fork_rng(() if ctx.random[1] is None else (saved[0].device,)),
        ):
            torch.set_rng_state(ctx.random[0])
            if ctx.random[1] is not None:
                torch.cuda.set_rng_state(ctx.random[1], saved[0].device)
            y, after = ctx.step(saved[0], ctx.shape.replace_tensors(saved[1 : 1 + ctx.count]))
        outputs = [y, *after.tensors()]
        pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if o.requires_grad and g is not None]
        inputs = [*saved[: 1 + ctx.count], *parameters]
        wanted_inputs = [t for t, n in zip(inputs, needed, strict=True) if n]
        found = iter(
            torch.autograd.grad([o for o, _ in pairs], wanted_inputs, [g for _, g in pairs], allow_unused=True)
        )
        return (None, None, None, *(next(found) if n else None for n in needed))
