"""One model on many processes: how many torchrun has started, and which rows of a batch each one takes.

Every process draws the same batches and keeps rows of its own. So loaders of any kind are divided, those with samplers
of their own and endless ones too, and a row that reads on from batch to batch stays with one process.
"""

import os
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor, distributed

from titans_seq.errors import TrainingError


def count_processes() -> tuple[int, int]:
    """Return the processes on each machine, and the machines; (1, 1) where torchrun did not start this process."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        return 1, 1
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    return local, int(os.environ["WORLD_SIZE"]) // local


def take_share(batch: Any, rank: int, count: int) -> tuple[Any, float]:
    """Return every `count`-th row of a batch from `rank` on, and a weight: the weighted means add up to the batch's.

    A process that would get no row takes the first one, with weight 0: it has to keep step with the others.

    Args:
        batch: a tensor, or a dataclass with a length; rows come first in all its tensors.

    Raises:
        TrainingError: the batch is something else.
    """
    if count == 1:
        return batch, 1.0
    size = len(batch)
    own = len(range(rank, size, count))
    return _rows(batch, slice(rank, None, count) if own else slice(1)), own * count / size


def weight_of(batch: Any) -> int:
    """Return how much the loss of a batch counts in a mean over batches: its `weight`, or its length."""
    return int(getattr(batch, "weight", len(batch)))


def _rows(batch: Any, rows: slice) -> Any:
    if isinstance(batch, Tensor):
        return batch[rows]
    if is_dataclass(batch) and not isinstance(batch, type):
        parts = {f.name: getattr(batch, f.name) for f in fields(batch)}
        return replace(batch, **{name: part[rows] for name, part in parts.items() if isinstance(part, Tensor)})
    raise TrainingError(
        f"to be trained on by several processes, a batch must be a tensor or a dataclass of tensors, "
        f"not {type(batch).__name__}"
    )
