"""`python -m benchmarks language`: every backbone on tinyshakespeare by the processor recipe of nanoGPT.

First nine tenths of the text train, the last tenth is the yardstick, used for nothing else: the end of the training
part says which epoch is kept. 4 layers of 128, context 64, 12 segments a step, 2,000 steps, all backbones with the same
number of parameters. The loss, nats per character, is that of the whole last tenth: in windows of 64 that know nothing
of each other (as nanoGPT does), and as one stream.
"""

import math
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.figure import Figure
from benchmarks.ledger import Ledger
from benchmarks.options import BenchmarkOptions, check_options
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table
from titans_seq.spread import format_spread, mean_and_spread

DATASET, TRAIN = "tinyshakespeare", 1_003_854
"""Characters of the training part."""

NAME = "language-tinyshakespeare"

ORDER = ("lmm", "mac", "mag", "mal", "attention")
"""Of the rows in tables and pictures."""


@dataclass(frozen=True, kw_only=True)
class Language(BenchmarkOptions):
    """Validation loss of every backbone on tinyshakespeare over several seeds, beside attention and n-grams."""

    variants: tuple[Literal["lmm", "mac", "mag", "mal", "attention"], ...] = ("lmm", "mac", "mag", "mal", "attention")
    """Backbones."""
    carry: Literal["off", "on", "both"] = "both"
    """Train on segments with a memory that begins anew, on consecutive ones that carry it, or one after the other."""
    parameters: int = 800_000
    """Of each model, with the embedding; the gated MLP takes what the mixers leave."""
    dim: int = 128
    """Width."""
    layers: int = 4
    """Blocks, of 4 heads each."""
    context: int = 64
    """Characters of a training segment, and of a window of the stock evaluation."""
    window: int = 64
    """Characters that attention sees, with and without a memory beside it."""
    chunk_size: int = 16
    """Of the memory."""
    memory_expansion: float = 1
    """Hidden width of the memory in units of a head's."""
    batch: int = 12
    """Segments of a step."""
    epoch_steps: int = 250
    """Steps between two looks at the end of the training part."""
    epochs: int = 8
    """Of `epoch_steps` each."""
    learning_rate: float = 3e-3
    """Peak rate."""
    seeds: int = 3
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        from titans_seq.datasets import fetch
        from titans_seq.domains.language.baselines import baseline_bits
        from titans_seq.domains.language.datasets import DATASETS
        from titans_seq.domains.language.plots import plot_losses

        check_options(self, "parameters", "dim", "layers", "context", "epoch_steps", "epochs", "seeds")
        if not self.variants:
            raise DataError("variants must name at least one backbone")
        text = fetch(DATASET, DATASETS).read_text(encoding="utf-8")
        train, test = text[:TRAIN], text[TRAIN:]
        for variant in self.variants:
            self.model(variant, True, 0)  # every setting is checked before hours of work
        left_out = ("output", "json", "seeds", "seed", "variants", "carry")
        settings = {k: v for k, v in asdict(self).items() if k not in left_out}
        ledger = Ledger(self.output, NAME, settings)
        carries = {"off": [False], "on": [True], "both": [False, True]}[self.carry]
        for carry in carries:
            for seed in range(self.seed, self.seed + self.seeds):
                for variant in self.variants:
                    key = {"variant": variant, "carry": carry, "seed": seed}
                    row = ledger.find(**key) or ledger.add({**key, **self.once(variant, carry, seed, train, test)})
                    if not self.json:
                        figures = f"windows {row['windows']:.4f}, stream {row['stream']:.4f} nats"
                        print(f"{label(row)}, seed {seed}: {figures}", file=sys.stderr)
        ledger.rows.sort(key=lambda row: (row["carry"], ORDER.index(row["variant"]), row["seed"]))
        baselines = baseline_bits(train, test)
        result = ledger.finish(
            characters={"train": len(train), "validation": len(test)},
            summary=summary(ledger.rows),
            baselines_bits_per_byte=baselines,
        )
        if self.output is not None:
            path = self.output / f"{NAME}-{result['date']}.png"
            plot_losses(path, result["summary"], baselines, "tinyshakespeare, whole validation part")
        if not self.json:
            cells = {
                name: {k: format_spread(of[k], of[f"{k}_spread"], 4) for k in ("windows", "stream")}
                | {
                    "parameters": f"{of['parameters']:,.0f}",
                    "seconds": f"{of['seconds']:.0f}",
                    "seeds": f"{of['seeds']}",
                }
                for name, of in result["summary"].items()
            }
            plain_table("nats per character, mean and standard deviation over seeds", cells)
        return result

    def model(self, variant: str, carry: bool, seed: int) -> Any:
        """Return the estimator of a row, at the number of parameters asked for."""
        from titans_seq.backbone.presets import fit_parameters
        from titans_seq.domains.language import TitansLM

        model = TitansLM(
            variant=variant, vocabulary="symbols", dim=self.dim, layers=self.layers, window=self.window,
            chunk_size=self.chunk_size, memory_expansion=self.memory_expansion, context=self.context, carry=carry,
            batch_size=self.batch,
            epoch_steps=self.epoch_steps, max_epochs=self.epochs, patience=self.epochs,
            learning_rate=self.learning_rate, random_state=seed, verbose=sys.stderr.isatty(),
        )  # fmt: skip
        config = model.check()
        try:
            config = fit_parameters(config, self.parameters - SYMBOLS * self.dim)
        except ValueError as error:
            raise DataError(str(error)) from error
        return model.set_params(mlp_expansion=config.mlp_expansion)

    def once(self, variant: str, carry: bool, seed: int, train: str, test: str) -> dict[str, Any]:
        """Train and judge one model."""
        from titans_seq.domains.language.evaluation import stream_loss, window_loss

        model = self.model(variant, carry, seed).fit(train)
        started = time.perf_counter()
        tokens = model.vocabulary_.encode(test)
        return {
            "windows": window_loss(model.network_, tokens, self.context),
            "stream": stream_loss(model.network_, tokens),
            "parameters": sum(p.numel() for p in model.network_.parameters()),
            "kept_epoch": model.history_.best_epoch + 1,
            "training_loss": model.history_.train_loss,
            "end_of_training_part": model.history_.validation_loss,
            "seconds": model.history_.seconds,
            "evaluation_seconds": time.perf_counter() - started,
        }


SYMBOLS = 66
"""Tokens of the text: 65 characters, and the one between documents."""


def label(row: dict[str, Any]) -> str:
    """Return a row's name in tables and pictures."""
    return f"{row['variant']}, memory carried" if row["carry"] else row["variant"]


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return, by row name, means over the seeds, and the spread of the losses."""
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(label(row) for row in rows):
        own = [row for row in rows if label(row) == name]
        values: dict[str, float] = {"seeds": len(own)}
        for key in ("windows", "stream", "parameters", "seconds"):
            values[key], values[f"{key}_spread"] = mean_and_spread(row[key] for row in own)
        found[name] = values
    return found


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    found, bits = result["summary"], result["baselines_bits_per_byte"]
    own = [name for name in found if not name.startswith("attention")]
    rows = []
    for kind, how in (("windows", "in windows of 64"), ("stream", "read as one stream")):
        cells = {n: format_spread(found[n][kind], found[n][f"{kind}_spread"] or math.nan) for n in found}
        others = [f"attention of the same size {cells['attention']}"] if "attention" in cells else []
        others += [f"{name} {bits[name] * math.log(2):.3f}" for name in ("5-gram", "bz2") if kind == "stream"]
        others += ["nanoGPT's README says 1.88"] if kind == "windows" else []
        what = f"tinyshakespeare, {result['settings']['parameters'] / 1e6:.1f} M parameters, nats per character {how}"
        rows.append(Figure(what, ", ".join(f"{n} {cells[n]}" for n in own), ", ".join(others)))
    return rows
