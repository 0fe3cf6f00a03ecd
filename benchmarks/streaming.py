"""`python -m benchmarks streaming`: a stream of millions of tokens costs the same at its end as at its beginning.

Axes: B batch, T tokens.
"""

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.pipelines.output import plain_table

VARIANTS = ("lmm", "mac", "mag", "mal")


@dataclass(frozen=True, kw_only=True)
class Streaming(BenchmarkOptions):
    """Time per token and resident memory along a long stream, for every variant."""

    tokens: int = 2_000_000
    """Length of the stream."""
    piece: int = 1000
    """Tokens of one call; not a multiple of the chunk, so chunks stay open between calls."""
    dim: int = 32
    """Width of the model, which has one layer of two heads, memory depth 2, chunks and windows of 64."""
    seed: int = 0
    """Of weights and data."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "tokens", "piece", "dim")
        result: dict[str, Any] = {
            "benchmark": "streaming",
            "tokens": self.tokens,
            "piece": self.piece,
            "dim": self.dim,
            "variants": {variant: _stream(variant, self) for variant in VARIANTS},
            **describe(),
        }
        write_result(self.output, "streaming", result)
        if not self.json:
            rows = {
                v: {
                    "tokens/s": f"{r['tokens_per_second']:,.0f}",
                    "last 1 % / first 1 %": f"{r['time_ratio']:.3f}",
                    "memory growth": f"{r['memory_growth']:+.2%}",
                    "state": f"{r['state_bytes']:,} bytes",
                    "finite": str(r["finite"]),
                }
                for v, r in result["variants"].items()
            }
            plain_table(f"{self.tokens:,} tokens", rows)
        return result


def _stream(variant: Any, options: Streaming) -> dict[str, Any]:
    import psutil
    import torch

    from titans_seq.backbone import BackboneConfig, TitansBackbone

    torch.manual_seed(options.seed)
    config = BackboneConfig(
        variant=variant, dim=options.dim, layers=1, heads=2, chunk_size=64, window=64, persistent_tokens=4
    )
    net = TitansBackbone(config).eval()
    process, state, seconds, resident, finite = psutil.Process(), None, [], [], True
    pieces = max(1, options.tokens // options.piece)
    part = max(1, pieces // 100)
    fresh_state, fresh = None, []

    def timed(state: Any) -> tuple[float, Any, Any]:
        x = torch.randn(1, options.piece, options.dim)
        started = time.perf_counter()
        h, state = net(x, state)
        return time.perf_counter() - started, h, state

    with torch.inference_mode():
        for _ in range(20):  # warm-up, on a stream of its own
            _, _, state = timed(state)
        state = None
        for number in range(pieces):
            took, h, state = timed(state)
            seconds.append(took)
            resident.append(process.memory_info().rss)
            finite = finite and bool(torch.isfinite(h).all())
            if number >= pieces - part:  # the first 1 % of another stream takes turns with the last 1 % of this one
                took, _, fresh_state = timed(fresh_state)
                fresh.append(took)
    first, last = median(fresh), median(seconds[-part:])
    return {
        "tokens_per_second": options.piece * pieces / sum(seconds),
        "first_percent_us_per_token": 1e6 * first / options.piece,
        "last_percent_us_per_token": 1e6 * last / options.piece,
        "time_ratio": last / first,
        "resident_first_percent": median(resident[:part]),
        "resident_last_percent": median(resident[-part:]),
        "memory_growth": median(resident[-part:]) / median(resident[:part]) - 1,
        "state_bytes": state.nbytes if state is not None else 0,
        "finite": finite,
    }


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    variants = result["variants"]

    def cells(key: str, form: str) -> str:
        return ", ".join(f"{name} {of[key]:{form}}" for name, of in variants.items())

    return [
        Figure(
            f"time per token in the last 1 % of {result['tokens']:,} tokens, to the first 1 %",
            cells("time_ratio", ".2f"),
            f"resident memory {cells('memory_growth', '+.1%')}",
        ),
        Figure(f"tokens a second in it, dim {result['dim']}", cells("tokens_per_second", ",.0f"), ""),
    ]
