"""Kernels in C++ for processors: the memory, and what stands around it. Built on request, never needed.

Without them, on other devices and for what they do not cover, `memory`, `norm.py` and `swiglu.py` do the same in torch.
"""

from typing import Any

import torch
from torch import Tensor

from titans_seq.kernel.build import build_kernel, kernel_ready

__all__ = ["build_kernel", "call", "is_usable", "kernel_ready"]


def is_usable(x: Tensor) -> bool:
    """Return whether the kernels are ready and cover this device and dtype."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
        and kernel_ready()
    )


def call(function: type[torch.autograd.Function], *given: Any) -> Any:
    """Return `function.apply(*given)`; where no gradients are wanted, without what autograd would cost."""
    if torch.is_grad_enabled():
        return function.apply(*given)
    return function.forward(_Nowhere(), *given)


class _Nowhere:
    """A context that keeps nothing."""

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Drop them."""

    def set_materialize_grads(self, value: bool) -> None:
        """Drop it."""
