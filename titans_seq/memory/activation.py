"""Non-linearities of the memory with the derivatives that its own gradient and the gradient of that one need."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Activation(NamedTuple):
    """A function of one variable, element by element."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    """First derivative."""
    backward: Callable[[Tensor, Tensor], Tensor]
    """(gradient, z) -> gradient x slope(z), in one pass."""
    slope_and_curve: Callable[[Tensor], tuple[Tensor, Tensor]]
    """First and second derivative."""


def _silu_slope(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    slope: Tensor = s * (1 + z * (1 - s))
    return slope


def _silu_slope_and_curve(z: Tensor) -> tuple[Tensor, Tensor]:
    s = torch.sigmoid(z)
    rest = 1 - s
    slope = torch.addcmul(s, s * rest, z)
    curve = torch.addcmul(z.new_full((), 2.0), z, rest - s).mul_(s).mul_(rest)
    return slope, curve


def _gelu_density(z: Tensor) -> Tensor:
    density: Tensor = torch.exp(-0.5 * z.square()) * (2 * torch.pi) ** -0.5
    return density


def _gelu_slope(z: Tensor) -> Tensor:
    slope: Tensor = 0.5 * (1 + torch.erf(z * 0.5**0.5)) + z * _gelu_density(z)
    return slope


def _gelu_slope_and_curve(z: Tensor) -> tuple[Tensor, Tensor]:
    return _gelu_slope(z), _gelu_density(z) * (2 - z.square())


ACTIVATIONS: dict[str, Activation] = {
    "silu": Activation(F.silu, _silu_slope, torch.ops.aten.silu_backward, _silu_slope_and_curve),
    "gelu": Activation(F.gelu, _gelu_slope, torch.ops.aten.gelu_backward, _gelu_slope_and_curve),
}
"""By the name in a configuration."""
