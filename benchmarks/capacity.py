"""`python -m benchmarks capacity`: how many associations a memory holds, by its make, before any training.

Random keys of length 1 are written once each, with one of 256 random values; then every key is read back from the
weights behind the last one, and the nearest value is its answer. The step size is the best of a few, chosen on other
keys. Nothing is forgotten, there is no momentum: what is lost is lost to what was written later.

Axes: T associations, D features of a head.
"""

import time
from dataclasses import dataclass
from typing import Any

from benchmarks.by_length import Titles, list_lengths, list_shares, measure
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, check_rows

MODELS: dict[str, dict[str, Any]] = {
    "linear": {"depth": 1},
    "silu, twice as wide": {},
    "silu, 4 times": {"expansion": 4},
    "sparse, twice": {"activation": "sparse"},
    "sparse, 4 times": {"activation": "sparse", "expansion": 4},
    "sparse, 8 times": {"activation": "sparse", "expansion": 8},
}
"""Changed fields of `MemoryConfig`; the hidden width in units of a head's."""

VALUES = 256
"""Different values."""
STEPS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Step sizes that are tried."""
NEAR = 100
"""Associations before and behind an age that are asked for too."""


@dataclass(frozen=True, kw_only=True)
class Capacity(BenchmarkOptions):
    """Share of random associations that a memory gives back, by how many were written after them."""

    models: tuple[str, ...] = tuple(MODELS)
    """Rows."""
    width: int = 128
    """Features of the one head."""
    ages: tuple[int, ...] = (100, 500, 1000, 2000, 4000)
    """Associations written later."""
    chunk_size: int = 32
    """Of the memory."""
    seeds: int = 3
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "width", "chunk_size", "seeds")
        check_rows(self, MODELS, "ages", NEAR)
        titles = Titles(
            f"associations in a memory of width {self.width}", "% recalled by later associations",
            "later associations", 1 / VALUES,
        )  # fmt: skip
        return measure(self, "capacity", tuple(MODELS), "recalled", titles)

    def once(self, model: str, seed: int) -> dict[str, Any]:
        """Choose the step size on some keys, and answer for others."""
        started = time.perf_counter()
        tried = {step: self.recall(model, step, 2 * seed) for step in STEPS}
        best = max(tried, key=lambda step: sum(tried[step].values()))
        recalled = self.recall(model, best, 2 * seed + 1)
        return {"recalled": recalled, "step_size": best, "seconds": time.perf_counter() - started}

    def recall(self, model: str, step: float, seed: int) -> dict[str, float]:
        """Return the share of right answers by age."""
        from functools import partial

        import torch
        import torch.nn.functional as F

        from titans_seq.memory import MemoryConfig, NeuralMemory
        from titans_seq.memory.functional import scan_chunks
        from titans_seq.training import temporary_seed

        config = MemoryConfig(dim=self.width, heads=1, chunk_size=self.chunk_size, **MODELS[model])
        count = max(self.ages) + NEAR
        with temporary_seed(seed), torch.no_grad():
            weights = [w.detach().unsqueeze(0) for w in NeuralMemory(config).memory]
            keys, known = (F.normalize(torch.randn(n, self.width), dim=-1) for n in (count, VALUES))
            answers = torch.randint(VALUES, (count,))
            k, v = keys[None, None], known[answers][None, None]
            steps = torch.full((1, 1, count), step)
            run = partial(scan_chunks, k, k, v, chunk_size=config.chunk_size, activation=config.activation)
            _, weights, _ = run(step_size=steps, momentum=None, forget=None, weights=weights)
            y, _, _ = run(step_size=0 * steps, momentum=None, forget=None, weights=weights)
        right = ((y[0, 0] @ known.T).argmax(-1) == answers).double()
        return {str(age): float(right[count - age - NEAR : count - age + NEAR].mean()) for age in self.ages}


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    found = result["summary"]
    what = (
        f"random associations in a memory of width {result['settings']['width']}, untrained, {list_lengths(found)} "
        "more written later; % recalled"
    )
    return [Figure(what, *list_shares(found))]
