"""`python -m benchmarks equal-time`: the language model with its defaults beside Transformers after equal time.

All have as many parameters, read the same 2 MB of wikitext-2 as bytes in the same growing segments, with the same
optimizer and a learning rate that falls by the time, one after the other on the same cores. Test: the beginning of the
official test text; models with a state read it as one stream, PyTorch's own Transformer in windows of its context that
overlap by half, of which the second halves count. N-grams and compressors of the same text stand beside them.
"""

import math
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.figure import Figure
from benchmarks.ledger import measure_models
from benchmarks.options import BenchmarkOptions, check_options, check_rows
from titans_seq.pipelines.output import plain_table
from titans_seq.spread import format_spread, mean_and_spread

MODELS = ("titans, defaults", "attention, window 64", "attention, window 256", "PyTorch's Transformer")
"""Rows."""


@dataclass(frozen=True, kw_only=True)
class EqualTime(BenchmarkOptions):
    """Bits per byte of wikitext-2 after equal time, and bytes a second in training, over several seeds."""

    models: tuple[str, ...] = MODELS
    """Rows."""
    minutes: float = 10
    """Training time of each."""
    characters: int = 2_000_000
    """Of the training text, from its beginning."""
    test_characters: int = 300_000
    """Of the test text, from its beginning."""
    seeds: int = 3
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        from titans_seq.datasets import fetch
        from titans_seq.domains.language.baselines import baseline_bits
        from titans_seq.domains.language.datasets import DATASETS

        check_options(self, "characters", "test_characters", "seeds")
        check_rows(self, MODELS)
        parts = ("train", "test")
        train, test = (fetch(f"wikitext2-{part}", DATASETS).read_text(encoding="utf-8") for part in parts)
        train, test = train[: self.characters], test[: self.test_characters]

        def line(row: dict[str, Any]) -> str:
            return f"{row['bits_per_byte']:.4f} bits per byte, {row['bytes_per_second']:,.0f} bytes a second"

        ledger = measure_models(
            self, "equal-time", self.models, lambda model, seed: self.once(model, seed, train, test), line, MODELS
        )
        result = ledger.finish(summary=summarize(ledger.rows), baselines_bits_per_byte=baseline_bits(train, test))
        if not self.json:
            plain_table(f"after {self.minutes:g} minutes, mean and standard deviation", table(result))
        return result

    def once(self, name: str, seed: int, train: str, test: str) -> dict[str, Any]:
        """Train and judge one model."""
        from titans_seq.domains.language import TitansLM

        steps = {"max_minutes": self.minutes, "max_epochs": 100_000, "patience": 100_000, "epoch_steps": 200}
        model = TitansLM(**steps, random_state=seed, verbose=sys.stderr.isatty())
        parameters = count(model)
        if name == "PyTorch's Transformer":
            return self.transformer(model, parameters, train, test)
        if name != "titans, defaults":
            from titans_seq.backbone.presets import fit_parameters

            model.set_params(variant="attention", window=int(name.rsplit(" ", 1)[1]))
            config = fit_parameters(model.check(), parameters - 257 * model.dim)
            model.set_params(mlp_expansion=config.mlp_expansion)
        model.fit(train)
        started = time.perf_counter()
        bits = model.bits_per_byte(test)
        return measured(model.history_, model, bits, count(model), time.perf_counter() - started)

    def transformer(self, model: Any, parameters: int, train: str, test: str) -> dict[str, Any]:
        """Train and judge PyTorch's Transformer with the settings of a `TitansLM`."""
        import torch

        from benchmarks.peers import Transformer
        from titans_seq.domains.language.segments import next_token_loss, training_segments
        from titans_seq.domains.language.vocabulary import Bytes
        from titans_seq.training import TrainingConfig, temporary_seed
        from titans_seq.training import train as train_network

        dims = range(model.heads, 1024, model.heads)
        size = {dim: 12 * model.layers * dim**2 + (257 + model.context) * dim for dim in dims}
        dim = min(size, key=lambda dim: abs(size[dim] - parameters))
        with temporary_seed(model.random_state):
            network = Transformer(257, dim, model.heads, model.layers, model.context)
        vocabulary = Bytes()
        tokens = torch.cat([*vocabulary.encode_pieces([train])])
        length = model._segment(len(tokens) - 1)
        tokens, held_back = model._split(tokens, length)
        rest = (model.batch_size, model.epoch_steps, model.random_state, False)
        segments, validation = training_segments(tokens, held_back, length, *rest)

        def loss(network: Any, batch: Any) -> Any:
            return next_token_loss(network(batch.tokens[:, :-1].long()), batch.tokens[:, 1:]).mean()

        config = model.configure(TrainingConfig)
        history = train_network(network, loss, segments, validation, config)
        started = time.perf_counter()
        bits = sliding_bits(network, vocabulary.encode(test), model.context)
        found = sum(p.numel() for p in network.parameters())
        return measured(history, model, bits, found, time.perf_counter() - started)


def count(model: Any) -> int:
    """Return the parameters of a `TitansLM` of bytes, embedding included."""
    from titans_seq.backbone.presets import count_parameters

    return count_parameters(model.check()) + 257 * int(model.dim)


def measured(history: Any, model: Any, bits: float, parameters: int, seconds: float) -> dict[str, Any]:
    """Return a row."""
    from titans_seq.domains.language.segments import SHORTEST

    return {
        "bits_per_byte": bits,
        "bytes_per_second": history.steps * model.batch_size * SHORTEST / history.seconds,
        "parameters": parameters,
        "steps": history.steps,
        "training_loss": history.train_loss[-1] / math.log(2),
        "seconds": history.seconds,
        "evaluation_seconds": seconds,
    }


def sliding_bits(network: Any, tokens: Any, context: int) -> float:
    """Return bits a token (T,), each given between a half of the context and all of it, or what there is before."""
    import torch

    from titans_seq.domains.language.segments import next_token_loss

    half, nats = context // 2, 0.0
    with torch.inference_mode():
        for start in range(0, len(tokens) - 1, half):
            row = tokens[start : start + context + 1].unsqueeze(0).long()
            losses = next_token_loss(network(row[:, :-1]), row[:, 1:])[0]
            nats += float(losses[half if start else 0 :].double().sum())
            if start + context + 1 >= len(tokens):
                break
    return nats / math.log(2) / (len(tokens) - 1)


def summarize(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return mean and spread of the figures by row."""
    found = {}
    for name in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == name]
        keys = ("bits_per_byte", "bytes_per_second", "parameters")
        found[name] = {
            key: dict(zip(("mean", "spread"), mean_and_spread(row[key] for row in own), strict=True)) for key in keys
        }
    return found


def table(result: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return cells by row."""
    cells = {
        name: {
            "bits per byte": format_spread(of["bits_per_byte"]["mean"], of["bits_per_byte"]["spread"] or math.nan, 4),
            "bytes a second": f"{of['bytes_per_second']['mean']:,.0f}",
            "parameters": f"{of['parameters']['mean']:,.0f}",
        }
        for name, of in result["summary"].items()
    }
    others = {name: {"bits per byte": f"{bits:.4f}"} for name, bits in result["baselines_bits_per_byte"].items()}
    return cells | {n: of for n, of in others.items() if n in ("trigram", "5-gram", "lzma")}


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    cells = table(result)

    def shown(name: str) -> str:
        rate = f" ({cells[name]['bytes a second']} bytes a second)" if "bytes a second" in cells[name] else ""
        return f"{name} {cells[name]['bits per byte']}{rate}"

    minutes = result["settings"]["minutes"]
    what = f"2 MB of wikitext-2 as bytes, {minutes:g} minutes of training on 2 cores, bits per byte of the test text"
    own = [name for name in cells if name.startswith("titans")]
    return [Figure(what, ", ".join(map(shown, own)), ", ".join(shown(name) for name in cells if name not in own))]
