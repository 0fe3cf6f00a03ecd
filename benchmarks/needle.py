"""`python -m benchmarks needle`: networks learn to find a needle in 512 bytes, and look for it in up to 16,384.

Every network sees the same examples in the same order; lengths beyond the trained one are never trained on. A needle
counts as found if the greedy answer holds its value (see `domains.language.needle`). Memories begin with long
half-lives: otherwise most of the training goes into finding that out. Writing and forgetting have a price in training
(`gate_cost`): otherwise nothing in so few bytes teaches a memory not to write over a needle later.
"""

import math
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.language import ORDER
from benchmarks.ledger import Ledger
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table
from titans_seq.spread import format_spread, mean_and_spread

ANSWER_BYTES = 16
"""Room for an answer: a number of 7 digits has to come at once."""

PART = 100
"""Steps between two looks at the validation examples."""


@dataclass(frozen=True, kw_only=True)
class Needle(BenchmarkOptions):
    """Share of needles that every backbone finds beside windowed attention, by length, over several seeds."""

    variants: tuple[Literal["lmm", "mac", "mag", "mal", "attention"], ...] = ("lmm", "mac", "mag", "mal", "attention")
    """Backbones; all with the same window."""
    kind: Literal["passkey", "number"] = "passkey"
    """Number in repeated sentences, or in natural text (the chapters that come with Python)."""
    trained: int = 512
    """Bytes of a training example."""
    lengths: tuple[int, ...] = (512, 2048, 4096, 8192, 16384)
    """Bytes of a test example."""
    parameters: int = 160_000
    """Of each network, with the embedding; the gated MLP takes what the mixers leave."""
    dim: int = 64
    """Width."""
    layers: int = 2
    """Blocks."""
    heads: int = 1
    """Heads of each block."""
    window: int = 64
    """Bytes that attention sees, with and without a memory beside it."""
    chunk_size: int = 4
    """Of the memory."""
    half_life: float = 69_314
    """Bytes after which half of a write is gone, at first."""
    max_step: float | None = None
    """Step size of the memory at the most."""
    gate_cost: float = 0.8
    """Price of writing and of forgetting in training."""
    steps: int = 1000
    """Training steps."""
    batch: int = 8
    """Examples of a step."""
    tests: int = 50
    """Examples of each length."""
    learning_rate: float = 3e-3
    """Peak rate."""
    seeds: int = 3
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        from titans_seq.domains.language.plots import plot_lengths

        check_options(self, "parameters", "steps", "batch", "tests", "seeds")
        if not 0 <= self.gate_cost < math.inf:
            raise DataError(f"gate-cost must be at least 0, not {self.gate_cost}")
        if not self.variants or not self.lengths:
            raise DataError("variants and lengths must name at least one each")
        for variant in self.variants:
            self.backbone(variant)
        for length in (self.trained, *self.lengths):
            self.task(length)
        settings = {k: v for k, v in asdict(self).items() if k not in ("output", "json", "seeds", "seed", "variants")}
        name = f"needle-{self.kind}" + ("" if self.max_step is None else f"-max-step-{self.max_step:g}")
        ledger = Ledger(self.output, name, settings)
        for seed in range(self.seed, self.seed + self.seeds):
            for variant in self.variants:
                key = {"variant": variant, "seed": seed}
                row = ledger.find(**key) or ledger.add({**key, **self.once(variant, seed)})
                if not self.json:
                    shares = ", ".join(f"{n}: {share:.0%}" for n, share in row["found"].items())
                    print(f"{variant}, seed {seed}: {shares} ({row['seconds']:.0f} s)", file=sys.stderr)
        rows = sorted(ledger.rows, key=lambda row: (ORDER.index(row["variant"]), row["seed"]))
        result: dict[str, Any] = {
            "benchmark": name,
            "settings": settings,
            "summary": summary(rows),
            "runs": rows,
            **describe(),
        }
        write_result(self.output, name, result)
        if self.output is not None:
            points = {
                label(v): {int(n): (of["found"], of["spread"]) for n, of in lengths.items()}
                for v, lengths in result["summary"].items()
            }
            path = self.output / f"{name}-{result['date']}.png"
            plot_lengths(path, points, 0.0, f"needles found, trained at {self.trained} bytes")
            ledger.close()
        if not self.json:
            cells = {
                label(v): {
                    f"{int(n):,}": format_spread(100 * of["found"], 100 * of["spread"], 1) for n, of in per.items()
                }
                for v, per in result["summary"].items()
            }
            plain_table("% of needles found, mean and standard deviation over seeds", cells)
        return result

    def task(self, length: int, answer_bytes: int = ANSWER_BYTES) -> Any:
        """Return examples of a length, all of the same number of bytes."""
        from titans_seq.domains.language.needle import NeedleTask

        return NeedleTask(kind=self.kind, length=length, answer_bytes=answer_bytes, even=True)

    def backbone(self, variant: str) -> Any:
        """Return the configuration of a row, at the number of parameters asked for."""
        from titans_seq.backbone import BackboneConfig
        from titans_seq.backbone.presets import fit_parameters
        from titans_seq.domains.language.vocabulary import BYTES

        try:
            config = BackboneConfig(
                variant=variant,  # type: ignore[arg-type]
                dim=self.dim,
                layers=self.layers,
                heads=self.heads,
                window=self.window,
                chunk_size=self.chunk_size,
                max_step=self.max_step,
                half_life=self.half_life,
            )
            return fit_parameters(config, self.parameters - (BYTES + 1) * self.dim)
        except ValueError as error:
            raise DataError(str(error)) from error

    def once(self, variant: str, seed: int) -> dict[str, Any]:
        """Train and test one network."""
        from titans_seq.domains.language.needle import needle_examples
        from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
        from titans_seq.domains.language.retrieval import (
            NeedleBatches,
            answer_loss,
            needle_accuracy,
            needle_loader,
        )
        from titans_seq.domains.language.text import embedded_text
        from titans_seq.domains.language.vocabulary import BYTES
        from titans_seq.training import TrainingConfig, temporary_seed, train

        haystack = None if self.kind == "passkey" else embedded_text()
        task = self.task(self.trained, len(f" {10**6}"))
        part = min(PART, self.steps)
        epochs = -(-self.steps // part)
        with temporary_seed(seed):
            network = LanguageNetwork(LanguageConfig(vocabulary=BYTES + 1, backbone=self.backbone(variant)))
        history = train(
            network,
            answer_loss,
            needle_loader(NeedleBatches(task, self.batch, part, 3 * seed, haystack)),
            needle_loader(NeedleBatches(task, 32, 2, 3 * seed + 1, haystack, fixed=True)),
            TrainingConfig(
                max_epochs=epochs, patience=epochs, learning_rate=self.learning_rate, gate_cost=self.gate_cost,
                random_state=seed, verbose=sys.stderr.isatty(),
            ),
        )  # fmt: skip
        started = time.perf_counter()
        found = {
            str(n): needle_accuracy(
                network, needle_examples(self.task(n), self.tests, 3 * seed + 2, haystack), ANSWER_BYTES
            )
            for n in self.lengths
        }
        return {
            "found": found,
            "validation_loss": history.validation_loss,
            "steps": part * len(history.train_loss),
            "parameters": sum(p.numel() for p in network.parameters()),
            "seconds": history.seconds,
            "test_seconds": time.perf_counter() - started,
        }


def label(variant: str) -> str:
    """Return a row's name in tables and pictures."""
    return "windowed attention" if variant == "attention" else variant


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by variant and length, mean and standard deviation of the share that was found."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for variant in dict.fromkeys(row["variant"] for row in rows):
        of = [row["found"] for row in rows if row["variant"] == variant]
        result[variant] = {
            n: {
                **dict(zip(("found", "spread"), mean_and_spread(found[n] for found in of), strict=True)),
            }
            for n in of[0]
        }
    return result


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    settings, found = result["settings"], result["summary"]

    def cells(lengths: dict[str, dict[str, float]]) -> str:
        return " / ".join(
            format_spread(100 * of["found"], 100 * (of["spread"] or math.nan), 1) for of in lengths.values()
        )

    limit = "" if settings.get("max_step") in (None, 1) else f", max_step={settings['max_step']:g}"
    lengths = " / ".join(f"{int(n):,}" for n in next(iter(found.values())))
    what = (
        f"a {settings['kind']} in a haystack (S-NIAH){limit}, trained on {settings['trained']} bytes, "
        f"{settings['parameters'] / 1e6:.2f} M parameters; % found at {lengths} bytes"
    )
    own = [f"{variant} {cells(of)}" for variant, of in found.items() if variant != "attention"]
    beside = f"windowed attention {cells(found['attention'])}" if "attention" in found else ""
    return [Figure(what, "; ".join(own), beside)]
