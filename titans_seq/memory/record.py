"""Surprise and gates of all memories inside a network, while the network runs; and the network without its writes.

Axes: B batch, T tokens, H heads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from titans_seq.memory.neural import NeuralMemory, gate_values


@contextmanager
def record_surprise(module: nn.Module) -> Iterator[list[list[Tensor]]]:
    """Record the surprise norms (B, H, T) of each memory below `module` that runs inside, each in a list of its own."""
    found: dict[NeuralMemory, list[Tensor]] = {m: [] for m in _memories(module)}

    def watch(memory: NeuralMemory) -> None:
        step = memory.step

        def watched(x: Tensor, state: Any = None, lengths: Any = None, norms: Any = None, fill: Any = None) -> Any:
            own: list[Tensor] = []
            out = step(x, state, lengths, own, fill)
            found[memory].append(torch.cat(own, 2))
            return out

        memory.step = watched  # type: ignore[method-assign]

    for memory in found:
        watch(memory)
    try:
        yield list(found.values())
    finally:
        for memory in found:
            del memory.step


class GateValues(NamedTuple):
    """What a memory's gates said of the tokens of one call, each (B, T, H)."""

    memory: NeuralMemory
    """Whose gates they are."""
    step_size: Tensor
    """theta."""
    momentum: Tensor
    """eta."""
    forget: Tensor
    """alpha."""


@contextmanager
def record_gates(network: nn.Module) -> Iterator[list[GateValues]]:
    """Record the gates of each call of a memory inside, with their graph."""
    found = list[GateValues]()

    def keep(memory: NeuralMemory, _module: nn.Module, _inputs: object, logits: Tensor) -> None:
        found.append(GateValues(memory, *gate_values(logits, memory.config)))

    with _hooks({memory: partial(keep, memory) for memory in _memories(network)}):
        yield found


@contextmanager
def without_writes(network: nn.Module) -> Iterator[None]:
    """Switch off all writing inside: step sizes are 0, and every memory stays what it is, or fades.

    What a trained network loses by it is what comes through its memories.
    """

    def silence(_module: nn.Module, _inputs: object, logits: Tensor) -> Tensor:
        heads = logits.shape[-1] // 3
        return torch.cat([torch.full_like(logits[..., :heads], -torch.inf), logits[..., heads:]], -1)

    with _hooks(dict.fromkeys(_memories(network), silence)):
        yield


def _memories(network: nn.Module) -> list[NeuralMemory]:
    return [m for m in network.modules() if isinstance(m, NeuralMemory)]


@contextmanager
def _hooks(hooks: dict[NeuralMemory, Any]) -> Iterator[None]:
    """Have each memory's gates pass through a hook."""
    handles = [memory.gates.register_forward_hook(hook) for memory, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
