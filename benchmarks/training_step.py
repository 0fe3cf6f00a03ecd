"""`python -m benchmarks training-step`: where the time of a training step goes, and what a plain model takes.

A step as `titans_seq.training.train` runs it, from batch to batch, is set beside the same forward and backward pass
alone, beside the time that its operators take by themselves, and beside the pass of a peer on the same batches, taking
turns: DLinear, a plain PyTorch Transformer of the same parameters, a small CNN. Axes: B batch, C channels, T tokens.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
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

PRODUCTS = (
    "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_dot_product", "aten::mkldnn_convolution",
    "aten::convolution_backward",
)  # fmt: skip
"""Operators that multiply matrices, convolutions among them, by how their names begin."""
KERNEL = ("titans_seq::scan_", "Memory")
"""The memory's own, which is products for the most part."""

Case = tuple["nn.Module", "nn.Module | None", "LossFunction", "DataLoader[Any]"]
"""Network, its peer, loss and batches."""


@dataclass(frozen=True, kw_only=True)
class TrainingStep(BenchmarkOptions):
    """Shares of a training step: matrix products, the memory's kernel, other operators, and what is not arithmetic."""

    steps: int = 60
    """Steps of each measurement."""
    models: tuple[str, ...] = ()
    """Some of forecaster, classifier, language model, and this with its context behind a comma; none: all."""
    seed: int = 0
    """Of weights and data."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "steps")
        if self.steps < 3:
            raise DataError(f"steps must be at least 3, not {self.steps}")
        cases: dict[str, Callable[[int, int], Case]] = {
            "forecaster": forecaster,
            "classifier": classifier,
            "language model": language_model,
            "language model, context 256": partial(language_model, context=256),
            "language model, context 2048": partial(language_model, context=2048),
        }
        unknown = [name for name in self.models if name not in cases]
        if unknown:
            raise DataError(f"models must be some of {'; '.join(cases)}, not {unknown[0]!r}")
        cases = {name: make for name, make in cases.items() if not self.models or name in self.models}
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
                    "times its peer's": f"{r['pass_seconds'] / r['peer_seconds']:.2f}" if "peer_seconds" in r else "",
                }
                for name, r in result["models"].items()
            }
            plain_table("one training step and its shares", rows)
        return result


def measure(make: Callable[[int, int], Case], steps: int, seed: int) -> dict[str, float]:
    """Return seconds of a step and of its pass alone, and the shares of the step."""
    from titans_seq.training import TrainingConfig, train

    network, peer, loss, batches = make(steps, seed)
    moments: list[float] = []

    def noted(net: "nn.Module", batch: Any) -> Any:
        if net.training:
            moments.append(time.perf_counter())
        return loss(net, batch)

    train(network, noted, batches, batches, TrainingConfig(max_epochs=1, random_state=seed))
    warm = min(5, steps // 2)
    step = median(b - a for a, b in pairwise(moments[warm:]))
    network, peer, loss, batches = make(steps, seed)
    network.train()
    some, passes = list(batches), dict[str, list[float]]()
    for batch in some:
        for name, one in {"pass_seconds": network, "peer_seconds": peer}.items():
            if one is not None:
                passes.setdefault(name, []).append(_pass(one, loss, batch))
    products, kernel, others = _operators(network, loss, some)
    return {
        "step_seconds": step,
        **{name: median(each[warm:]) for name, each in passes.items()},
        "parameters": sum(p.numel() for p in network.parameters()),
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
    """Return `TitansForecaster` with its defaults, 7 channels, 96 steps back and ahead, on random walks.

    Its step is 32 segments of 64 forecasts each; one of DLinear makes as many.
    """
    import torch

    from titans_seq.domains.timeseries.baselines import DLinear
    from titans_seq.domains.timeseries.choose import choose_linear, split_lengths
    from titans_seq.domains.timeseries.forecaster import TitansForecaster
    from titans_seq.domains.timeseries.losses import mse
    from titans_seq.domains.timeseries.network import ForecastNetwork
    from titans_seq.domains.timeseries.reading import Reader
    from titans_seq.domains.timeseries.segments import TOKENS, RandomSegments, SegmentLoss, loader
    from titans_seq.domains.timeseries.tokens import Table
    from titans_seq.domains.timeseries.windows import Windows
    from titans_seq.training import temporary_seed

    model = TitansForecaster(horizon=96, context=96, patch=16)
    with temporary_seed(seed):
        network = ForecastNetwork(replace(model.check(), channels=7))
        values = torch.randn(4000, 7).cumsum(0) / 60
    cuts = split_lengths([len(values)], model.validation_fraction, 96)
    choice = choose_linear([values], cuts, 96, 1, [96], False)
    reader = Reader(network.config, choice.memory.config)
    table = Table([values], reader.front, 96)
    segments = SegmentLoss(reader, table, choice.weights, choice.parts, cuts)
    windows = Windows([values], 192, 96).loader(model.batch_size * TOKENS // 7)
    window = next(iter(windows))

    def loss(net: Any, batch: Any) -> Any:
        if isinstance(net, ForecastNetwork):
            return segments(net, batch)
        return mse(net(window[..., :96]), window[..., 96:])

    return network, DLinear(96, 96), loss, loader(RandomSegments(cuts, 7, 16, model.batch_size, steps, seed))


def classifier(steps: int, seed: int) -> Case:
    """Return `TitansDNAClassifier` with its defaults, on random sequences of 200 letters."""
    import numpy as np

    from titans_seq.domains.genomics import TitansDNAClassifier
    from titans_seq.domains.genomics.fitting import Examples, classification_loss
    from titans_seq.domains.genomics.network import DNANetwork
    from titans_seq.training import temporary_seed

    model, rng = TitansDNAClassifier(), np.random.default_rng(seed)
    config = model.check(2)
    count = steps * model.batch_size
    letters = ["".join(rng.choice(list("ACGT"), 200)) for _ in range(count)]
    with temporary_seed(seed):
        network = DNANetwork(config)
    examples = Examples(model._rows(letters), rng.integers(2, size=count))
    return network, None, classification_loss(None, 0.0), examples.loader(model.batch_size)


def language_model(steps: int, seed: int, context: int | None = None) -> Case:
    """Return `TitansLM` with its defaults, on random bytes, beside a Transformer of as many parameters.

    With another context, batches have 4,096 tokens.
    """
    import torch

    from benchmarks.peers import Transformer
    from titans_seq.domains.language import TitansLM
    from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
    from titans_seq.domains.language.segments import SHORTEST, GrowingSegments, NextTokenLoss, loader, next_token_loss
    from titans_seq.training import temporary_seed

    model = TitansLM() if context is None else TitansLM(context=context, batch_size=4096 // SHORTEST)
    backbone = model.check()
    with temporary_seed(seed):
        network = LanguageNetwork(LanguageConfig(vocabulary=257, backbone=backbone))
        tokens = torch.randint(256, (100_000,))
        wanted = sum(p.numel() for p in network.parameters())
        sizes = range(backbone.heads, 8 * backbone.dim, backbone.heads)
        count = {dim: 12 * backbone.layers * dim**2 + 2 * 257 * dim for dim in sizes}
        dim = min(count, key=lambda dim: abs(count[dim] - wanted))
        peer = Transformer(257, dim, backbone.heads, backbone.layers)
    own = NextTokenLoss()

    def loss(model: "nn.Module", batch: Any) -> Any:
        if model is not peer:
            return own(model, batch)
        return next_token_loss(peer(batch.tokens[:, :-1].long()), batch.tokens[:, 1:]).mean()

    segments = GrowingSegments(tokens, model.context, SHORTEST * model.batch_size, steps, seed)
    segments.progress = 1.0
    return network, peer, loss, loader(segments)


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    return [
        Figure(
            f"{name}: a training step with the defaults",
            f"{1000 * of['step_seconds']:.0f} ms"
            + (
                f", its pass {of['pass_seconds'] / of['peer_seconds']:.1f} times its peer's"
                if "peer_seconds" in of
                else ""
            ),
            f"matrix products {of['products']:.0%}, the memory's kernel {of['kernel']:.0%}, other operators "
            f"{of['operators']:.0%}, rest {of['rest']:.0%}",
        )
        for name, of in result["models"].items()
    ]
