"""`python -m benchmarks sizes`: speed at the sizes that the estimators use, beside attention, GRU, Mamba2 and others.

Widths of 32 to 128, batches of 1 to 512, sequences of 6 to 4,096: every memory of chunk 4, 16 and 64 and every peer
takes turns at each size; a cell counts the best of its turns. Axes: B batch, T tokens.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table
from titans_seq.progress import show_progress

if TYPE_CHECKING:
    from torch import nn

HEADS = {32: 1, 64: 2, 128: 4}
"""By width."""
OWN = tuple(f"memory, depth 2, chunk {chunk}" for chunk in (4, 16, 64))
PEERS = ("attention", "GRU", "Mamba2", "titans-pytorch (64, 64)", "titans-pytorch (16, 64)", "titans-pytorch (4, 64)")


@dataclass(frozen=True, kw_only=True)
class Sizes(BenchmarkOptions):
    """Forward, and forward and backward, at small widths, by batch and length."""

    dims: tuple[int, ...] = tuple(HEADS)
    """Widths, of 32, 64 and 128."""
    batches: tuple[int, ...] = (1, 32, 512)
    """Rows."""
    tokens: tuple[int, ...] = (6, 64, 512, 4096)
    """Lengths."""
    most: int = 32_768
    """Tokens of all rows together, at the most; larger cells are left out."""
    seconds: float = 0.15
    """That a contender may take at each size and turn."""
    turns: int = 3
    """Of each contender at each size; the best counts."""
    seed: int = 0
    """Of weights and data."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "turns", "most")
        if not set(self.dims) <= set(HEADS) or not self.dims:
            raise DataError(f"dims must be of {', '.join(map(str, HEADS))}, not {self.dims}")
        if min((*self.batches, *self.tokens), default=0) < 1:
            raise DataError("batches and tokens must be at least 1")
        cells = [
            (dim, batch, tokens)
            for dim in self.dims
            for tokens in self.tokens
            for batch in self.batches
            if batch * tokens <= self.most
        ]
        rows: list[dict[str, Any]] = [
            {"dim": dim, "batch": batch, "tokens": tokens, **self._cell(dim, batch, tokens)}
            for dim, batch, tokens in show_progress(cells, "sizes", not self.json)
        ]
        result: dict[str, Any] = {"benchmark": "sizes", "turns": self.turns, "rows": rows, **describe()}
        write_result(self.output, "sizes", result)
        if not self.json:
            for kind in ("forward", "both"):
                table = {f"{r['dim']}, {r['batch']} x {r['tokens']}": _cells(r[kind]) for r in rows}
                title = "forward" if kind == "forward" else "forward and backward"
                plain_table(f"{title}, microseconds a token by width, batch x length", table)
            table = {f"{r['dim']}, {r['batch']} x {r['tokens']}": _shares(r) for r in rows}
            plain_table("share of the time, forward and backward, that products need at the width's own rate", table)
        return result

    def _cell(self, dim: int, batch: int, tokens: int) -> dict[str, Any]:
        """Return microseconds a token by contender, forward and with backward, and what its products need."""
        import torch

        from benchmarks.speed import contenders, step

        makers = contenders(dim, HEADS[dim])
        x = torch.randn(batch, tokens, dim, generator=torch.Generator().manual_seed(self.seed))
        modules: dict[str, nn.Module] = {}
        for name in (*OWN, *PEERS):
            if name not in makers:
                continue
            torch.manual_seed(self.seed)
            module = makers[name]()
            try:
                step(module, x, True)
            except Exception as error:  # a peer that cannot run at this size
                print(f"{name} at {dim}, {batch} x {tokens}: {error}", file=sys.stderr)
                continue
            modules[name] = module
        found: dict[str, dict[str, float]] = {"forward": {}, "both": {}}
        for _ in range(self.turns):
            for name, module in modules.items():
                for kind, best in found.items():
                    took = best_of(lambda module=module, kind=kind: step(module, x, kind == "both"), self.seconds)  # type: ignore[misc]
                    best[name] = min(took, best.get(name, took))
        return {
            **{kind: {n: 1e6 * s / (batch * tokens) for n, s in best.items()} for kind, best in found.items()},
            "products": self._products(dim, batch * tokens),
        }

    def _products(self, dim: int, tokens: int) -> dict[str, float]:
        """Return what the products of a pass with backward take at the width's own rate, by chunk, and that rate."""
        import torch

        from benchmarks.peers import operations

        a, b = torch.randn(tokens, dim), torch.randn(dim, 4 * dim)
        rate = 8 * tokens * dim**2 / best_of(lambda: torch.mm(a, b), self.seconds)
        counted = {name: 3 * operations(dim, HEADS[dim], 2, int(name.split()[-1])) for name in OWN}
        return {name: 1e6 * count / rate for name, count in counted.items()} | {"flops_per_second": rate}


def best_of(run: Callable[[], Any], seconds: float) -> float:
    """Return the least seconds of a run, of as many as fit into `seconds`, one at least."""
    end, best = time.perf_counter() + seconds, float("inf")
    while True:
        started = time.perf_counter()
        run()
        now = time.perf_counter()
        best = min(best, now - started)
        if now + best > end:
            return best


def _cells(times: dict[str, float]) -> dict[str, str]:
    return {name.removeprefix("memory, depth 2, "): f"{took:.2f}" for name, took in times.items()}


def _shares(row: dict[str, Any]) -> dict[str, str]:
    shares = {name: row["products"][name] / row["both"][name] for name in OWN}
    rate = f"{row['products']['flops_per_second'] / 1e9:,.0f}"
    return {n.removeprefix("memory, depth 2, "): f"{s:.0%}" for n, s in shares.items()} | {"GFLOP/s": rate}


def ratios(rows: list[dict[str, Any]], peer: str, chunk: int, least: int, most: int) -> list[float]:
    """Return the peer's time over the memory's, forward and backward, of the sizes of some lengths."""
    own = f"memory, depth 2, chunk {chunk}"
    wanted = [r["both"] for r in rows if least <= r["tokens"] <= most and peer in r["both"]]
    return [both[peer] / both[own] for both in wanted]


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    rows = result["rows"]
    longest = max(row["tokens"] for row in rows)
    spans = {
        "GRU": (64, longest), "titans-pytorch (64, 64)": (64, longest), "Mamba2": (64, longest),
        "attention": (1024, longest),
    }  # fmt: skip
    figures = []
    for peer, (least, most) in spans.items():
        found = {chunk: ratios(rows, peer, chunk, least, most) for chunk in (4, 16, 64)}
        if all(found.values()):
            own = ", ".join(f"chunk {c}: {min(f):.1f} to {max(f):.1f}" for c, f in found.items())
            what = f"widths 32 to 128, batches of 1 to 512, from {least:,} tokens on: times faster than {peer}"
            figures.append(Figure(f"{what}, forward and backward", own, "1"))
    short = {chunk: ratios(rows, "attention", chunk, 1, 64) for chunk in (4, 16, 64)}
    if all(short.values()):
        own = ", ".join(f"chunk {c}: {1 / max(f):.1f} to {1 / min(f):.1f}" for c, f in short.items())
        figures.append(Figure("6 to 64 tokens: times slower than attention, forward and backward", own, "1"))
    return figures
