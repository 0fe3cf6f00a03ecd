"""`python -m benchmarks scaling`: cost per token over the length of a sequence, and decoding token by token.

Every length is one call of its own, in turns with the others; training recomputes in segments of 1,024 tokens.
Axes: B batch (1 here), T tokens.
"""

import time
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from benchmarks.speed import step, timed
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table
from titans_seq.progress import show_progress


@dataclass(frozen=True, kw_only=True)
class Scaling(BenchmarkOptions):
    """Microseconds a token of one memory (dim 256, 4 heads, depth 2, chunk 64), batch 1."""

    tokens: tuple[int, ...] = (2048, 8192, 32_768, 131_072)
    """Lengths."""
    dim: int = 256
    """Width; 4 heads."""
    decode: int = 20_000
    """Tokens of the stream that is decoded one by one."""
    repeats: int = 5
    """Turns; the median counts."""
    seed: int = 0
    """Of weights and data."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "dim", "decode", "repeats")
        if not self.tokens or min(self.tokens) < 1 or self.dim % 4:
            raise DataError(f"tokens must be at least 1 and dim a multiple of 4, not {self.tokens} and {self.dim}")
        lengths = self._lengths()
        flat = {what: _spread([r[what] for r in lengths.values()]) for what in ("forward", "both")}
        result: dict[str, Any] = {
            "benchmark": "scaling",
            "dim": self.dim,
            "repeats": self.repeats,
            "microseconds_per_token": lengths,
            "spread": flat,
            "decoding": self._decoding(),
            **describe(),
        }
        write_result(self.output, "scaling", result)
        if not self.json:
            rows = {
                f"{int(t):,} tokens": {"forward": f"{r['forward']:.1f} us", "forward + backward": f"{r['both']:.1f} us"}
                for t, r in lengths.items()
            }
            plain_table("microseconds a token", rows)
            decoding = result["decoding"]
            print(f"decoding: {decoding['first']:,.0f} tokens/s at the start, {decoding['last']:,.0f} at the end")
        return result

    def _lengths(self) -> dict[str, dict[str, float]]:
        import torch

        from benchmarks.peers import First

        memory, runs = (
            First(self._memory(True)),
            {t: {"forward": list[float](), "both": list[float]()} for t in self.tokens},
        )
        inputs = {t: torch.randn(1, t, self.dim) for t in runs}
        step(memory, inputs[min(runs)], True)
        for _ in show_progress(range(self.repeats), "turns", not self.json):
            for tokens, times in runs.items():
                for what in times:
                    times[what].append(timed(partial(step, memory, inputs[tokens], what == "both")))
        return {
            str(tokens): {what: 1e6 * median(taken) / tokens for what, taken in times.items()}
            for tokens, times in runs.items()
        }

    def _memory(self, recompute: bool) -> Any:
        """Build the memory; long sequences are trained with recomputation, as one would."""
        import torch

        from titans_seq import MemoryConfig, NeuralMemory

        torch.manual_seed(self.seed)
        return NeuralMemory(MemoryConfig(dim=self.dim, heads=4, checkpoint_tokens=1024 if recompute else None))

    def _decoding(self) -> dict[str, float]:
        """Return tokens a second in the first and the last tenth of a stream."""
        import torch

        memory, state, seconds = self._memory(False), None, list[float]()
        with torch.inference_mode():
            for x in torch.randn(self.decode, 1, 1, self.dim):
                started = time.perf_counter()
                _, state = memory(x, state)
                seconds.append(time.perf_counter() - started)
        tenth = max(1, self.decode // 10)
        first, last = seconds[tenth // 10 : tenth], seconds[-tenth:]
        return {
            "first": len(first) / sum(first) if first else 0.0,
            "last": tenth / sum(last),
            "all": len(seconds) / sum(seconds),
        }


def _spread(values: list[float]) -> float:
    """Return largest distance of a value from the mean, as a share of it."""
    middle = sum(values) / len(values)
    return max(abs(v - middle) for v in values) / middle


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    lengths, decoding = result["microseconds_per_token"], result["decoding"]
    cells = {what: " / ".join(f"{of[what]:.1f}" for of in lengths.values()) for what in ("forward", "both")}
    at = " / ".join(f"{int(n):,}" for n in lengths)
    return [
        Figure(
            f"one memory, dim {result['dim']}, microseconds a token at {at} tokens, forward and backward",
            cells["both"],
            f"forward alone {cells['forward']}",
        ),
        Figure(
            "decoding token by token with it, tokens a second at the start",
            f"{decoding['first']:,.0f}",
            f"at the end {decoding['last']:,.0f}",
        ),
    ]
