"""`python -m benchmarks training-memory`: peak memory and time of one training step on a long sequence.

Every measurement runs in a process of its own. Axes: B batch, T tokens.
"""

import multiprocessing
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from benchmarks.peak_memory import watch_memory
from titans_seq.pipelines.output import plain_table


@dataclass(frozen=True, kw_only=True)
class TrainingMemory(BenchmarkOptions):
    """Forward and backward of one memory layer, plain and with recomputation, in turn."""

    tokens: int = 32_768
    """Length of the sequence."""
    dim: int = 256
    """Width; 4 heads, memory depth 2, chunks of 64."""
    checkpoint_tokens: int = 1024
    """Segment that is recomputed."""
    repeats: int = 3
    """Measurements of each; the median counts."""
    seed: int = 0
    """Of weights and data."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "tokens", "dim", "checkpoint_tokens", "repeats")
        measured: dict[str, list[dict[str, float]]] = {"plain": [], "recomputed": []}
        for _ in range(self.repeats):
            for name, segment in (("plain", None), ("recomputed", self.checkpoint_tokens)):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    measured[name].append(pool.apply(measure, (self.tokens, self.dim, segment, self.seed)))
        summary = {n: {k: median(r[k] for r in runs) for k in runs[0]} for n, runs in measured.items()}
        result: dict[str, Any] = {
            "benchmark": "training-memory",
            "tokens": self.tokens,
            "dim": self.dim,
            "checkpoint_tokens": self.checkpoint_tokens,
            "summary": summary,
            "time_ratio": summary["recomputed"]["seconds"] / summary["plain"]["seconds"],
            "runs": measured,
            **describe(),
        }
        write_result(self.output, "training-memory", result)
        if not self.json:
            rows = {
                n: {"peak over baseline": f"{s['peak_mb']:,.0f} MB", "seconds": f"{s['seconds']:.2f}"}
                for n, s in summary.items()
            }
            plain_table(f"forward and backward of {self.tokens:,} tokens", rows)
        return result


def measure(tokens: int, dim: int, segment: int | None, seed: int) -> dict[str, float]:
    """Return peak memory over the process's baseline, and seconds, of the second of two steps."""
    import torch

    from titans_seq import MemoryConfig, NeuralMemory

    torch.manual_seed(seed)
    config = MemoryConfig(dim=dim, heads=4, depth=2, chunk_size=64, checkpoint_tokens=segment)
    memory = NeuralMemory(config)
    memory(torch.randn(1, 256, dim))[0].square().sum().backward()
    x = torch.randn(1, tokens, dim, requires_grad=True)
    seconds = []
    with watch_memory() as peak:
        for _ in range(2):
            started = time.perf_counter()
            memory(x)[0].square().sum().backward()
            seconds.append(time.perf_counter() - started)
    return {"peak_mb": peak[0], "seconds": seconds[-1]}


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    plain, recomputed = (result["summary"][name] for name in ("plain", "recomputed"))
    what = f"peak memory of a training step on {result['tokens']:,} tokens, dim {result['dim']}, recomputing"
    figure = f"{recomputed['peak_mb']:.0f} MB, {result['time_ratio']:.2f} times as long"
    return [Figure(what, figure, f"keeping all {plain['peak_mb']:.0f} MB")]
