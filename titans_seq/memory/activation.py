"""Non-linearities of the memory with the derivatives that its own gradient and the gradient of that one need."""

import math
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
    shifted: tuple[float, float] | None = None
    """(shift, scale) if it is scale (silu(z - shift) - silu(-shift)), which the kernel knows."""
    spread: float | None = None
    """Standard deviation of the weights in front of it before training; None: one over the root of their inputs."""


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


SHIFT, SCALE = 6.0, 1 / 16
"""Of "sparse". Behind weights of spread 4, a key of length 1 opens one hidden unit in fifteen.
Few open units a key: Kanerva 1988, sparse distributed memory."""


def _sparse(z: Tensor) -> Tensor:
    """Return 0 for 0, as all of them do: what is padded stays zero."""
    return SCALE * (F.silu(z - SHIFT) + SHIFT / (1 + math.exp(SHIFT)))


def _sparse_backward(gradient: Tensor, z: Tensor) -> Tensor:
    found: Tensor = SCALE * torch.ops.aten.silu_backward(gradient, z - SHIFT)
    return found


def _sparse_slope_and_curve(z: Tensor) -> tuple[Tensor, Tensor]:
    slope, curve = _silu_slope_and_curve(z - SHIFT)
    return SCALE * slope, SCALE * curve


ACTIVATIONS: dict[str, Activation] = {
    "silu": Activation(F.silu, _silu_slope, torch.ops.aten.silu_backward, _silu_slope_and_curve, (0.0, 1.0)),
    "sparse": Activation(
        _sparse,
        lambda z: SCALE * _silu_slope(z - SHIFT),
        _sparse_backward,
        _sparse_slope_and_curve,
        (SHIFT, SCALE),
        4.0,
    ),
    "gelu": Activation(F.gelu, _gelu_slope, torch.ops.aten.gelu_backward, _gelu_slope_and_curve),
}
"""By the name in a configuration."""


def kernel_numbers(activation: str, clip: float | None) -> tuple[float, float, float] | None:
    """Return what the kernel takes, the clip (0 for none) and `Activation.shifted`; None if it does not know it."""
    shifted = ACTIVATIONS[activation].shifted
    return None if shifted is None else (clip or 0.0, *shifted)
