"""Surprise and step sizes of all memories inside a network, while the network runs.

Axes: B batch, T tokens, H heads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from titans_seq.memory.neural import NeuralMemory


@contextmanager
def record_surprise(module: nn.Module) -> Iterator[list[list[Tensor]]]:
    """Record the surprise norms (B, H, T) of each memory below `module` that runs inside, each in a list of its own."""
    found: dict[NeuralMemory, list[Tensor]] = {m: [] for m in module.modules() if isinstance(m, NeuralMemory)}

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


@contextmanager
def record_step_sizes(network: nn.Module) -> Iterator[list[Tensor]]:
    """Record the step sizes theta (B, T, H) of each call of a memory inside, with their graph."""
    sizes = list[Tensor]()

    def keep(most: float, _module: nn.Module, _inputs: object, gates: Tensor) -> None:
        sizes.append(most * torch.sigmoid(gates.unflatten(-1, (3, -1))[..., 0, :]))

    memories = [m for m in network.modules() if isinstance(m, NeuralMemory)]
    hooks = [m.gates.register_forward_hook(partial(keep, m.config.max_step)) for m in memories]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()
