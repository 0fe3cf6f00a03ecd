"""The base of every stream state: a plain container of tensors, batch first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor


@dataclass
class State:
    """Everything a stream needs to go on. Fields are tensors (batch on axis 0), lists of them, states, or None.

    A state is never changed in place: a call with a state returns a new one, so keeping an old one is a fork.
    """

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same state with `function` applied to every tensor."""
        return type(self)(**{f.name: _map(getattr(self, f.name), function) for f in fields(self)})

    def detach(self) -> Self:
        """Cut from the autograd graph."""
        return self.map(Tensor.detach)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Move the floating-point tensors; counters stay on the processor, so reading them never waits."""
        return self.map(lambda t: t.to(device=device, dtype=dtype) if t.is_floating_point() else t)

    def select(self, rows: Tensor | list[int]) -> Self:
        """Rows of the batch, in the order given and as often as given."""
        index = torch.as_tensor(rows, dtype=torch.long)
        return self.map(lambda t: t.index_select(0, index.to(t.device)))

    def fork(self) -> Self:
        """An independent copy."""
        return self.map(Tensor.clone)

    def named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Every tensor with its path, as `layers.0.weights.1`."""
        for f in fields(self):
            yield from _named(prefix + f.name, getattr(self, f.name))

    @property
    def nbytes(self) -> int:
        """Size in bytes; it does not depend on the length of the stream."""
        return sum(t.numel() * t.element_size() for _, t in self.named_tensors())


def _map(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if value is None:
        return None
    if isinstance(value, State):
        return value.map(function)
    if isinstance(value, list):
        return [_map(item, function) for item in value]
    return function(value)


def _named(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, State):
        yield from value.named_tensors(name + ".")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _named(f"{name}.{index}", item)
