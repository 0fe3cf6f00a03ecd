"""The price of open gates, which teaches a memory to hold over texts much longer than those of its training.

What was learned is lost less to time than to all that is written over it later, and a training text is too short to
show either. A price on writing and on forgetting teaches a memory to write what is asked for and little else, and to
keep it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from titans_seq.memory.record import record_gates

SMALLEST = 1e-12
"""Gates below are closed: they cost no less."""


@contextmanager
def gate_price(network: nn.Module, cost: float) -> Iterator[list[Tensor]]:
    """Record a network's forward passes inside; the list that comes holds their price afterwards, if it has memories.

    The price is `cost` times the mean root of the step sizes theta plus the mean root of the forget gates alpha, over
    all memories, heads and tokens: () float. A root, so that a few large gates cost less than many small ones.
    """
    price = list[Tensor]()
    if not cost:
        yield price
        return
    with record_gates(network) as gates:
        yield price
    if gates:
        price.append(cost * torch.stack([_root(g.step_size) + _root(g.forget) for g in gates]).mean())


def _root(gate: Tensor) -> Tensor:
    """Return the mean root; a closed gate has a gradient of 0, where that of the root would be infinite."""
    return gate.clamp_min(SMALLEST).sqrt().mean()
