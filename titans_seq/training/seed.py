"""Random numbers from a seed, without a trace outside."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def temporary_seed(seed: int) -> Iterator[None]:
    """Seed torch's random numbers inside, and leave those outside as they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
