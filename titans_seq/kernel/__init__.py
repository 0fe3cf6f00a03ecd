"""Kernels in C++ for processors: the memory, and what stands around it. Built on request, never needed.

Without them, on other devices and for what they do not cover, `memory`, `norm.py` and `swiglu.py` do the same in torch.
"""

import torch
from torch import Tensor

from titans_seq.kernel.build import build_kernel, kernel_ready

__all__ = ["build_kernel", "is_usable", "kernel_ready"]


def is_usable(x: Tensor) -> bool:
    """Return whether the kernels are ready and cover this device and dtype."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
        and kernel_ready()
    )
