"""`python -m benchmarks stability`: hostile sequences of 100,000 tokens, forward and backward, at all depths, chunks.

Axes: B batch, T tokens, D features.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.pipelines.output import plain_table
from titans_seq.progress import show_progress

if TYPE_CHECKING:
    from torch import Tensor

DEPTHS = (1, 2, 3, 4)
CHUNKS = (1, 16, 64, 256)


@dataclass(frozen=True, kw_only=True)
class Stability(BenchmarkOptions):
    """Largest outputs, states and gradients of the memory on repeated, constant, huge and random input."""

    tokens: int = 100_000
    """Length of the sequence."""
    dim: int = 16
    """Width; one head."""
    seed: int = 0
    """Of weights and data."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "tokens", "dim")
        kinds = sequences(self.tokens, self.dim, self.seed)
        cases = list(itertools.product(kinds, ("float32", "bfloat16 autocast"), DEPTHS, CHUNKS))
        rows = []
        for kind, precision, depth, chunk in show_progress(cases, "sequences", not self.json):
            found = run_once(kinds[kind](), depth, chunk, precision != "float32", self.seed)
            rows.append({"input": kind, "precision": precision, "depth": depth, "chunk_size": chunk, **found})
        result: dict[str, Any] = {
            "benchmark": "stability",
            "tokens": self.tokens,
            "dim": self.dim,
            "all_finite": all(row["finite"] for row in rows),
            "runs": rows,
            **describe(),
        }
        write_result(self.output, "stability", result)
        if not self.json:
            plain_table(f"{self.tokens:,} tokens, worst of {len(DEPTHS) * len(CHUNKS)} shapes each", _worst(rows))
        return result


def sequences(tokens: int, dim: int, seed: int) -> "dict[str, Callable[[], Tensor]]":
    """Return a sequence (1, T, D) by name."""
    import torch

    def random() -> "Tensor":
        return torch.randn(1, tokens, dim, generator=torch.Generator().manual_seed(seed))

    return {
        "random": random,
        "one token repeated": lambda: random()[:, :1].repeat(1, tokens, 1),
        "constant 1": lambda: torch.ones(1, tokens, dim),
        "random x 10,000": lambda: 1e4 * random(),
    }


def run_once(x: "Tensor", depth: int, chunk: int, autocast: bool, seed: int) -> dict[str, Any]:
    """Run one forward and backward pass; return whether all is finite, and the largest entries."""
    import torch

    from titans_seq import MemoryConfig, NeuralMemory

    torch.manual_seed(seed)
    segment = max(chunk, 1024)
    memory = NeuralMemory(
        MemoryConfig(dim=x.shape[2], heads=1, depth=depth, chunk_size=chunk, checkpoint_tokens=segment)
    )
    x = x.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        y, state = memory(x)
    (y.float().square().sum() / y.shape[1]).backward()
    gradients = [x.grad, *(p.grad for p in memory.parameters())]
    found = {
        "output": [y.detach()],
        "state": [t.detach() for _, t in state.named_tensors() if t.is_floating_point()],
        "gradient": [g for g in gradients if g is not None],
    }
    finite = all(bool(torch.isfinite(t).all()) for tensors in found.values() for t in tensors)
    largest = {f"largest_{name}": max(float(t.abs().max()) for t in tensors) for name, tensors in found.items()}
    return {"finite": finite, **largest}


def _worst(rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    worst: dict[str, dict[str, str]] = {}
    for name, group in itertools.groupby(rows, lambda row: f"{row['input']}, {row['precision']}"):
        runs = list(group)
        worst[name] = {
            "finite": f"{sum(r['finite'] for r in runs)} of {len(runs)}",
            **{what: f"{max(r['largest_' + what] for r in runs):.3g}" for what in ("output", "state", "gradient")},
        }
    return worst


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    runs = result["runs"]
    finite = sum(bool(run["finite"]) for run in runs)
    largest = max(run["largest_gradient"] for run in runs)
    what = f"hostile sequences of {result['tokens']:,} tokens that stay finite, forward and backward"
    return [Figure(what, f"{finite} of {len(runs)}", f"largest gradient {largest:.0f}")]
