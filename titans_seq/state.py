"""The base of every stream state: a plain container of tensors, batch first."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

S = TypeVar("S", bound="State")


@dataclass
class State:
    """Everything a stream needs to go on. Fields are tensors (batch on axis 0), lists of them, states, or None.

    A state is never changed in place: a call with a state returns a new one, so keeping an old one is a fork.
    """

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return the same state with `function` applied to every tensor."""
        return type(self)(**{f.name: _map(getattr(self, f.name), function) for f in fields(self)})

    def tensors(self) -> list[Tensor]:
        """Return every tensor, in the order of `named_tensors`."""
        return [tensor for _, tensor in self.named_tensors()]

    def replace_tensors(self, tensors: Iterable[Tensor]) -> Self:
        """Return a state of the same make with other tensors, in the order of `named_tensors`."""
        remaining = iter(tensors)
        return self.map(lambda _: next(remaining))

    def check_counters(self) -> None:
        """Raise ValueError if a counter points outside of its buffer; for states that come from a file."""
        for f in fields(self):
            value = getattr(self, f.name)
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, State):
                    item.check_counters()

    def detach(self) -> Self:
        """Cut from the autograd graph."""
        return self.map(Tensor.detach)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """Move the floating-point tensors; counters stay on the processor, so reading them never waits."""
        return self.map(lambda t: t.to(device=device, dtype=dtype) if t.is_floating_point() else t)

    def select(self, rows: Tensor | list[int]) -> Self:
        """Return rows of the batch, in the order given and as often as given."""
        index = torch.as_tensor(rows, dtype=torch.long)
        return self.map(lambda t: t.index_select(0, index.to(t.device)))

    def fork(self) -> Self:
        """Return an independent copy."""
        return self.map(Tensor.clone)

    def named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor with its path, as `layers.0.weights.1`."""
        for f in fields(self):
            yield from _named(prefix + f.name, getattr(self, f.name))

    @property
    def nbytes(self) -> int:
        """Size in bytes; it does not depend on the length of the stream, unless attention sees all of it."""
        return sum(t.numel() * t.element_size() for t in self.tensors())


def template(state: State) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a state, without the batch, by its path."""
    return {name: tuple(t.shape[1:]) for name, t in state.named_tensors()}


def check_state(state: Any, expected: dict[str, tuple[int, ...]], batch: int | None) -> None:
    """Raise ValueError unless the state has the tensors of `template`, each with `batch` rows (None: any number).

    A path that ends in `keys` or `values` of an attention without a window may have grown on its second axis.
    """
    if not isinstance(state, State):
        raise ValueError(f"the state must be what an earlier call returned, not {type(state).__name__}")
    rows = batch
    seen = 0
    for name, tensor in state.named_tensors():
        rows = tensor.shape[0] if rows is None and tensor.ndim else rows
        shape = expected.get(name)
        if shape is None or tensor.ndim == 0 or tensor.shape[0] != rows or not _fits(tuple(tensor.shape[1:]), shape):
            want = "nothing of that name" if shape is None else f"{(rows, *shape)}"
            raise ValueError(
                f"the state is of another batch or configuration: {name} is {tuple(tensor.shape)}, expected {want}"
            )
        seen += 1
    if seen != len(expected):
        raise ValueError(f"the state is of another configuration: it has {seen} tensors, expected {len(expected)}")


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    # the cache of an attention without a window starts empty and grows
    if len(shape) == 3 and len(expected) == 3 and expected[1] == 0:
        return shape[0] == expected[0] and shape[2] == expected[2]
    return shape == expected


def check_counter(counter: Tensor, least: int, most: int, name: str) -> None:
    """Raise ValueError unless all of a counter lies between least and most."""
    if counter.is_floating_point() or bool(((counter < least) | (counter > most)).any()):
        raise ValueError(f"{name} must lie between {least} and {most}, not {counter.tolist()}")


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
