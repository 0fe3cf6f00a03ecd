"""Checks of what users hand in, each a ValueError that names what was expected and what came.

Axes: B batch, T tokens.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from titans_seq.errors import DataError, NonFiniteError

LARGEST = 1e18
"""Magnitude at the most of a value in a saved network or state: its square is still a float32."""


def check_whole(least: int, **values: object) -> None:
    """Raise DataError unless each is a whole number, Python's or NumPy's, of at least `least` and below 2 ** 63."""
    for name, value in values.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value < 2**63:
            raise DataError(f"{name} must be a whole number of at least {least}, not {value!r}")


def check_stored(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless all values of stored tensors are finite and within `LARGEST`; it names the tensor."""
    for name, tensor in tensors.items():
        if not bool((tensor.abs() <= LARGEST).all()):
            raise ValueError(f"{name} holds NaN, infinite or huge values")


def check_answer(answer: Tensor, what: str) -> None:
    """Raise NonFiniteError unless all values are finite; `what` says what they are, in the plural."""
    if not bool(torch.isfinite(answer).all()):
        raise NonFiniteError(f"{what} are not finite: the model is damaged, or the input too large for {answer.dtype}")


def check_sequence(x: Tensor, dim: int, mask: Tensor | None) -> None:
    """Refuse x unless (B, T, dim), floating point, finite at real tokens; and mask unless (B, T) bool."""
    if not isinstance(x, Tensor):
        raise ValueError(f"x must be a tensor (B, T, {dim}), not {type(x).__name__}")
    if x.ndim != 3 or x.shape[-1] != dim or x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"x must be (B, T, {dim}) with B and T at least 1, not {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x must be floating point, not {x.dtype}")
    if mask is not None and (not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != x.shape[:2]):
        got = f"{tuple(mask.shape)} {mask.dtype}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must be (B, T) = {tuple(x.shape[:2])} bool, not {got}")
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return
    finite = torch.isfinite(x)
    if mask is not None:
        finite = finite | ~mask.unsqueeze(-1)
    if not bool(finite.all()):
        raise NonFiniteError("x holds NaN or infinite values")
