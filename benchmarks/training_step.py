"""`python -m benchmarks training-step`: where the time of a training step goes, in forecaster and language model.

A step as `titans_seq.training.train` runs it, from batch to batch, is set beside the same forward and backward pass
alone, and beside the time that its operators take by themselves. Axes: B batch, C channels, T tokens.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader

    from titans_seq.training import LossFunction

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_dot_product")
"""Operators that multiply matrices, by how their names begin."""
KERNEL = ("titans_seq::scan_", "Memory")
"""The memory's own, which is products for the most part."""

Case = tuple["nn.Module", "LossFunction", "DataLoader[Any]"]


@dataclass(frozen=True, kw_only=True)
class TrainingStep(BenchmarkOptions):
    """Shares of a training step: matrix products, the memory's kernel, other operators, and what is not arithmetic."""

    steps: int = 60
    """Steps of each measurement."""
    seed: int = 0
    """Of weights and data."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "steps")
        if self.steps < 3:
            raise DataError(f"steps must be at least 3, not {self.steps}")
        cases: dict[str, Callable[[int, int], Case]] = {"forecaster": forecaster, "language model": language_model}
        result: dict[str, Any] = {
            "benchmark": "training-step",
            "steps": self.steps,
            "models": {name: measure(make, self.steps, self.seed) for name, make in cases.items()},
            **describe(),
        }
        write_result(self.output, "training-step", result)
        if not self.json:
            rows = {
                name: {
                    "step": f"{1e3 * r['step_seconds']:.1f} ms",
                    "forward + backward": f"{1e3 * r['pass_seconds']:.1f} ms",
                    "products": f"{r['products']:.0%}",
                    "memory kernel": f"{r['kernel']:.0%}",
                    "other operators": f"{r['operators']:.0%}",
                    "not arithmetic": f"{r['rest']:.0%}",
                }
                for name, r in result["models"].items()
            }
            plain_table("one training step and its shares", rows)
        return result


def measure(make: Callable[[int, int], Case], steps: int, seed: int) -> dict[str, float]:
    """Return seconds of a step and of its pass alone, and the shares of the step."""
    from titans_seq.training import TrainingConfig, train

    network, loss, batches = make(steps, seed)
    moments: list[float] = []

    def noted(net: "nn.Module", batch: Any) -> Any:
        if net.training:
            moments.append(time.perf_counter())
        return loss(net, batch)

    train(network, noted, batches, batches, TrainingConfig(max_epochs=1, random_state=seed))
    warm = min(5, steps // 2)
    step = median(b - a for a, b in pairwise(moments[warm:]))
    network, loss, batches = make(steps, seed)
    network.train()
    some = list(batches)
    passes = [_pass(network, loss, batch) for batch in some]
    products, kernel, others = _operators(network, loss, some)
    return {
        "step_seconds": step,
        "pass_seconds": median(passes[warm:]),
        "products": products / step,
        "kernel": kernel / step,
        "operators": others / step,
        "rest": max(0.0, 1 - (products + kernel + others) / step),
    }


def _pass(network: "nn.Module", loss: "LossFunction", batch: Any) -> float:
    network.zero_grad(set_to_none=True)
    started = time.perf_counter()
    loss(network, batch).backward()
    return time.perf_counter() - started


def _operators(network: "nn.Module", loss: "LossFunction", batches: list[Any]) -> tuple[float, float, float]:
    """Return seconds of a pass in products, in the memory's kernel, and in all other operators."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for batch in batches:
            _pass(network, loss, batch)
    found = [0.0, 0.0, 0.0]
    for event in seen.key_averages():
        kind = 0 if event.key.startswith(PRODUCTS) else 1 if event.key.startswith(KERNEL) else 2
        if "::" in event.key:
            found[kind] += event.self_cpu_time_total / 1e6 / len(batches)
    return found[0], found[1], found[2]


def forecaster(steps: int, seed: int) -> Case:
    """Return `TitansForecaster` with its defaults, 7 channels, 96 steps back and ahead, on random walks."""
    import torch

    from titans_seq.domains.timeseries.fitting import window_loss
    from titans_seq.domains.timeseries.forecaster import TitansForecaster
    from titans_seq.domains.timeseries.network import ForecastNetwork
    from titans_seq.domains.timeseries.windows import Windows
    from titans_seq.training import temporary_seed

    model = TitansForecaster(horizon=96, context=96)
    shape = model.check()
    with temporary_seed(seed):
        network = ForecastNetwork(shape)
        values = torch.randn(steps * model.batch_size + 191, 7).cumsum(0)
    return network, window_loss(96, model.loss), Windows([values], 192, 96).loader(model.batch_size)


def language_model(steps: int, seed: int) -> Case:
    """Return `TitansLM` with its defaults, on random bytes."""
    import torch

    from titans_seq.domains.language import TitansLM
    from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
    from titans_seq.domains.language.segments import ConsecutiveSegments, NextTokenLoss, loader
    from titans_seq.training import temporary_seed

    model = TitansLM()
    backbone = model.check()
    with temporary_seed(seed):
        network = LanguageNetwork(LanguageConfig(vocabulary=257, backbone=backbone))
        tokens = torch.randint(256, (100_000,))
    return network, NextTokenLoss(), loader(ConsecutiveSegments(tokens, model.context, model.batch_size, steps, seed))


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    return [
        Figure(
            f"{name}: a training step with the defaults",
            f"{1000 * of['step_seconds']:.0f} ms",
            f"matrix products {of['products']:.0%}, the memory's kernel {of['kernel']:.0%}, other operators "
            f"{of['operators']:.0%}, rest {of['rest']:.0%}",
        )
        for name, of in result["models"].items()
    ]
