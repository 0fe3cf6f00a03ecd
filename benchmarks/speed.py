"""`python -m benchmarks speed`: tokens a second and peak memory of the memory, its blocks and its peers, in one run.

All contenders of a length take turns, so that whatever else the machine does hits them alike; medians count. The best
rate of matrix products is measured in the same turns. Axes: B batch (1 here), T tokens.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from benchmarks.peak_memory import watch_memory
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table
from titans_seq.progress import show_progress

if TYPE_CHECKING:
    from torch import Tensor, nn

MATRIX = 2048
"""Side of the matrices whose product gives the machine's own rate."""


@dataclass(frozen=True, kw_only=True)
class Speed(BenchmarkOptions):
    """Forward, and forward and backward, at several lengths, batch 1."""

    tokens: tuple[int, ...] = (512, 2048, 8192, 32_768)
    """Lengths."""
    dim: int = 256
    """Width."""
    heads: int = 4
    """Heads of whatever has heads."""
    repeats: int = 5
    """Turns; the median counts."""
    only: tuple[str, ...] = ()
    """Contenders whose names contain one of these; none: all."""
    limit: float = 60.0
    """Seconds; a contender whose single pass takes longer is left out at that length and at longer ones."""
    seed: int = 0
    """Of weights and data."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "dim", "heads", "repeats")
        if not self.tokens or min(self.tokens) < 1:
            raise DataError(f"tokens must be at least 1, not {self.tokens}")
        if self.dim % self.heads:
            raise DataError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        chosen = [n for n in contenders(self.dim, self.heads) if not self.only or any(o in n for o in self.only)]
        if not chosen:
            raise DataError(f"no contender's name contains {' or '.join(self.only)}")
        lengths: dict[str, dict[str, dict[str, Any]]] = {}
        slow: set[str] = set()
        for tokens in sorted(set(self.tokens)):
            lengths[str(tokens)] = self._length(tokens, chosen, slow)
        result: dict[str, Any] = {
            "benchmark": "speed",
            "dim": self.dim,
            "heads": self.heads,
            "repeats": self.repeats,
            "lengths": lengths,
            **describe(),
        }
        write_result(self.output, "speed", result)
        if self.output is not None:
            from benchmarks.speed_plot import plot_speed

            plot_speed(self.output / f"speed-{result['date']}.png", result)
        if not self.json:
            for length, rows in lengths.items():
                plain_table(f"{int(length):,} tokens, tokens a second", {n: _cells(r) for n, r in rows.items()})
        return result

    def _length(self, tokens: int, chosen: list[str], slow: set[str]) -> dict[str, dict[str, Any]]:
        """Measure all contenders at one length, but those in `slow`, to which it adds."""
        import torch

        makers = contenders(self.dim, self.heads)
        x = torch.randn(1, tokens, self.dim, generator=torch.Generator().manual_seed(self.seed))
        modules, times, peaks = {}, {}, {}
        for name in show_progress(chosen, f"peak memory at {tokens:,} tokens", not self.json):
            if name in slow:
                continue
            peak = in_process(self.limit, name, tokens, self.dim, self.heads, self.seed)
            if peak is None:
                slow.add(name)
                continue
            torch.manual_seed(self.seed)
            modules[name], peaks[name] = makers[name](), peak
            step(modules[name], x, True)
            times[name] = {"forward": list[float](), "both": list[float]()}
        rates = []
        for _ in show_progress(range(self.repeats), f"turns at {tokens:,} tokens", not self.json):
            rates.append(matrix_rate())
            for name, module in modules.items():
                for what in ("forward", "both"):
                    times[name][what].append(timed(partial(step, module, x, what == "both")))
        rows: dict[str, dict[str, Any]] = {}
        for name in chosen:
            if name not in modules:
                rows[name] = {"not measured": f"a pass takes more than {self.limit:g} s, or more memory than there is"}
                continue
            rows[name] = {**_rates(times[name], tokens), "peak_mb": peaks[name]}
            count = counted(name, self.dim, self.heads)
            if count:
                rate = statistics.median(rates)
                rows[name]["share_forward"] = count * rows[name]["forward"]["tokens_per_second"] / rate
                rows[name]["share_both"] = 3 * count * rows[name]["both"]["tokens_per_second"] / rate
        rows["matrix products"] = {"flops_per_second": statistics.median(rates), "flops_runs": rates}
        return rows


def contenders(dim: int, heads: int) -> "dict[str, Callable[[], nn.Module]]":
    """Return makers of modules (1, T, dim) to (1, T, dim), by name."""
    from benchmarks.peers import ours, peers

    return ours(dim, heads) | peers(dim, heads)


def counted(name: str, dim: int, heads: int) -> float | None:
    """Return operations a token of a contender's forward pass, where they are counted."""
    from benchmarks.peers import operations

    if not name.startswith("memory, "):
        return None
    depth, chunk = (int(part.split()[-1]) for part in name.split(", ")[1:])
    return operations(dim, heads, depth, chunk)


def step(module: "nn.Module", x: "Tensor", backward: bool) -> None:
    """Run one pass; with `backward`, gradients of the input and of all parameters."""
    import torch

    if not backward:
        with torch.no_grad():
            module(x)
        return
    x = x.detach().requires_grad_()
    module.zero_grad(set_to_none=True)
    module(x).square().mean().backward()


def timed(run: Callable[[], Any]) -> float:
    """Return the seconds of a run."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def matrix_rate() -> float:
    """Return operations a second of the machine's best product of two float32 matrices, of five."""
    import torch

    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    return 2 * MATRIX**3 / min(timed(partial(torch.mm, a, b)) for _ in range(5))


def in_process(limit: float, *options: Any) -> float | None:
    """Return `peak_memory` of a process of its own, MB; None if it takes too long or does not come back."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=peak_memory, args=(send, *options))
    process.start()
    send.close()
    try:
        return float(receive.recv()) if receive.poll(limit + 20) else None  # 20 s to import and warm up
    except EOFError:  # it died, most likely for want of memory
        return None
    finally:
        process.kill()
        process.join()


def peak_memory(send: Any, name: str, tokens: int, dim: int, heads: int, seed: int) -> None:
    """Send the peak resident memory of a forward and backward pass over this process's own, in MB."""
    import torch

    torch.manual_seed(seed)
    module = contenders(dim, heads)[name]()
    step(module, torch.randn(1, 128, dim), True)
    x = torch.randn(1, tokens, dim)
    with watch_memory() as peak:
        step(module, x, True)
    send.send(peak[0])


def _rates(times: dict[str, list[float]], tokens: int) -> dict[str, dict[str, Any]]:
    return {
        what: {
            "tokens_per_second": tokens / statistics.median(runs),
            "slowest": tokens / max(runs),
            "fastest": tokens / min(runs),
        }
        for what, runs in times.items()
    }


def _cells(row: dict[str, Any]) -> dict[str, str]:
    if "flops_per_second" in row:
        rate = f"{row['flops_per_second'] / 1e9:,.0f} GFLOP/s"
        return {"forward": rate, "forward + backward": "", "share of matrix rate": "", "peak memory": ""}
    if "not measured" in row:
        return {"forward": "not measured", "forward + backward": row["not measured"], "share of matrix rate": "",
                "peak memory": ""}  # fmt: skip
    share = f"{row['share_forward']:.0%} / {row['share_both']:.0%}" if "share_both" in row else ""
    return {
        "forward": f"{row['forward']['tokens_per_second']:,.0f}",
        "forward + backward": f"{row['both']['tokens_per_second']:,.0f}",
        "share of matrix rate": share,
        "peak memory": f"{row['peak_mb']:,.0f} MB",
    }


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    own, peers = "memory, depth 2, chunk 64", ("Mamba2", "attention", "GRU", "titans-pytorch")
    figures = []
    for tokens, rows in result["lengths"].items():
        others = [name for name in rows if name.startswith(peers)]
        for key, what in (("forward", "forward"), ("both", "forward and backward")):
            rates = {n: f"{rows[n][key]['tokens_per_second']:,.0f}" for n in (own, *others) if rows[n].get(key)}
            figures.append(
                Figure(
                    f"{own}, dim {result['dim']}, {int(tokens):,} tokens, tokens a second {what}",
                    rates.pop(own),
                    ", ".join(f"{name} {rate}" for name, rate in rates.items()),
                )
            )
        peaks = {n: f"{rows[n]['peak_mb']:,.0f}" for n in (own, *others) if rows[n].get("peak_mb")}
        if own in peaks:
            beside = ", ".join(f"{name} {peak}" for name, peak in peaks.items() if name != own)
            figures.append(Figure(f"its peak memory at {int(tokens):,}, MB", peaks[own], beside))
    tokens, rows = "8192", result["lengths"].get("8192", {})
    if own in rows:
        shares = f"{rows[own]['share_forward']:.0%} forward, {rows[own]['share_both']:.0%} forward and backward"
        figures.append(Figure(f"its share of the machine's best matrix-product rate at {int(tokens):,}", shares, ""))
    return figures
