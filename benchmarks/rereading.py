"""`python -m benchmarks rereading`: what a language model gains on a passage that it has read before.

Networks are trained for the same time on rows of wikitext-2 in which one passage comes back (`read_twice`), whose
second reading counts four times: a small plain text hardly says that looking back pays. Rows are short at first and
double when a second reading costs less than three quarters of the first. Then each network reads a passage of the
validation text, some thousand bytes of other text, and the passage again: how many bits the second reading costs, in
parts of the first. Beside it: bits of plain text in windows and as one stream, the same without any writing, and the
half-lives that the heads have learned. Tokens are byte pairs learned from the training text; what is reported is in
bytes. Attention over all of a row controls; windowed attention cannot gain.

Axes: B batch, T tokens.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.figure import Figure
from benchmarks.ledger import measure_models
from benchmarks.options import BenchmarkOptions, check_doubled, check_options, check_rows, row_backbone
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table
from titans_seq.spread import format_spread, mean_and_spread

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.read_twice import TwiceRead
    from titans_seq.domains.language.vocabulary import Vocabulary

SPREAD = {"half_life": 16.0, "longest_half_life": 100_000.0}
WIDE = {"layers": 1, "heads": 1, "memory_expansion": 16}

MODELS: dict[str, dict[str, Any]] = {
    "sparse memory": {"memory_activation": "sparse", **WIDE, **SPREAD},
    "memory": {**WIDE, **SPREAD},
    "windowed attention": {"variant": "attention"},
    "wide attention": {"variant": "attention", "window": 4096},
}
"""Changed fields of `BackboneConfig`, by row; half-lives in tokens, first and last head."""

PART = 50
"""Steps between two looks at the validation text."""

MORE = 3.0
"""Weight of a byte of a second reading in training, beside that of every byte."""

LEAD, PASSAGE = 512, 256
"""Bytes before a passage, and of it."""

UNKNOWN = 16
"""Bytes at the start of a second reading that cannot be told to be one."""


@dataclass(frozen=True, kw_only=True)
class Rereading(BenchmarkOptions):
    """Bits of a passage read again, in parts of those of its first reading, by initial gates and training."""

    models: tuple[str, ...] = tuple(MODELS)
    """Rows."""
    variant: str = "lmm"
    """Backbone of the rows with a memory."""
    minutes: float = 20.0
    """Of training, each."""
    vocabulary: int = 1024
    """Different tokens at the most, byte pairs of the training text; 257 are the bytes alone."""
    context: int = 4096
    """Tokens of the longest training rows, 64 times a power of two."""
    tokens: int = 1536
    """Of a step; one row at the least."""
    dim: int = 128
    """Width."""
    layers: int = 2
    """Blocks, where a row has no number of its own."""
    chunk_size: int = 32
    """Of the memory."""
    conv_kernel: int = 5
    """Of its convolutions: a key is made of one token less."""
    window: int = 64
    """Tokens that attention sees, where there is any beside the memory or in its place."""
    learning_rate: float = 3e-3
    """Peak rate."""
    gaps: tuple[int, ...] = (100, 500, 2000, 4000, 8000)
    """Bytes between the two readings."""
    passages: int = 32
    """Of each gap."""
    test_bytes: int = 100_000
    """Of the validation text, read in windows and as a stream."""
    seeds: int = 1
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        from benchmarks.read_twice import SHORTEST
        from titans_seq.datasets import fetch
        from titans_seq.domains.language.byte_pairs import BytePairs
        from titans_seq.domains.language.datasets import DATASETS
        from titans_seq.domains.language.vocabulary import BYTES, MOST_TOKENS

        check_options(
            self, "context", "tokens", "dim", "layers", "chunk_size", "conv_kernel", "passages", "seeds", "test_bytes"
        )
        check_rows(self, MODELS, "gaps")
        if not BYTES < self.vocabulary <= MOST_TOKENS:
            raise DataError(f"vocabulary must lie between {BYTES + 1} and {MOST_TOKENS}, not {self.vocabulary}")
        check_doubled(self, "context", SHORTEST)
        for model in self.models:
            self.backbone(model)
        train, test = (fetch(f"wikitext2-{part}", DATASETS).read_text(encoding="utf-8") for part in ("train", "valid"))
        vocabulary = BytePairs.learn(train, self.vocabulary)
        learned = vocabulary.encode(train)

        def once(model: str, seed: int) -> dict[str, Any]:
            return self.once(model, seed, vocabulary, learned, test)

        ledger = measure_models(self, "rereading", self.models, once, _line, MODELS)
        result = ledger.finish(summary=summarize(ledger.rows))
        if not self.json:
            cells = {
                model: {key: format_spread(of["mean"], of["spread"], 3) for key, of in found.items()}
                for model, found in result["summary"].items()
            }
            plain_table("bits per byte; second reading in parts of the first, by the bytes between", cells)
        return result

    def backbone(self, name: str) -> Any:
        """Return the configuration of a row."""
        return row_backbone(self, ("variant", "dim", "layers", "chunk_size", "window", "conv_kernel"), MODELS[name])

    def once(self, name: str, seed: int, vocabulary: "Vocabulary", train: "Tensor", test: str) -> dict[str, Any]:
        """Train one network on tokens and judge it on a text."""
        import math

        from torch.utils.data import DataLoader

        from benchmarks.read_twice import ReadTwice
        from titans_seq.domains.language.evaluation import stream_loss, window_loss
        from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
        from titans_seq.domains.language.segments import next_token_loss
        from titans_seq.domains.language.vocabulary import utf8
        from titans_seq.memory.record import without_writes
        from titans_seq.training import TrainingConfig, temporary_seed
        from titans_seq.training import train as train_network

        tokens = vocabulary.encode(test)
        width = len(utf8(test)) / len(tokens)
        part = tokens[: int(self.test_bytes / width)]
        with temporary_seed(seed):
            network = LanguageNetwork(LanguageConfig(vocabulary=vocabulary.size, backbone=self.backbone(name)))
        config = TrainingConfig(
            max_epochs=100_000, patience=100_000, max_minutes=self.minutes, optimizer="muon", random_state=seed,
            learning_rate=self.learning_rate, verbose=sys.stderr.isatty(),
        )  # fmt: skip
        rows, held_back = (
            ReadTwice(train, self.context, self.tokens, PART, seed),
            ReadTwice(tokens, self.context, self.tokens, 4, seed, fixed=True),
        )

        def loss(network: Any, batch: "TwiceRead") -> "Tensor":
            losses = next_token_loss(network(batch.tokens[:, :-1])[0], batch.tokens[:, 1:])
            if network.training:
                rows.judge(batch, losses.detach())
            weights = 1 + MORE * batch.again[:, 1:]
            return (weights * losses).sum() / weights.sum()

        training, validation = DataLoader(rows, batch_size=None), DataLoader(held_back, batch_size=None)
        history = train_network(network, loss, training, validation, config)

        def bits() -> dict[str, float]:
            nats = {"windows": window_loss(network, part, self.context, 16), "stream": stream_loss(network, part)}
            return {way: loss / math.log(2) / width for way, loss in nats.items()}

        again = {str(gap): self.reread(network, vocabulary, utf8(test), gap) for gap in self.gaps}
        found: dict[str, Any] = {**bits(), "again": again}
        with without_writes(network):
            found["without_writes"] = bits()
        return {
            **found,
            "half_lives": [[width * half for half in heads] for heads in half_lives(network, part[: 4 * self.context])],
            "bytes_per_token": width,
            "parameters": sum(p.numel() for p in network.parameters()),
            "steps": history.steps,
            "longest_trained": rows.growth.length,
            "training_loss": history.train_loss,
            "seconds": history.seconds,
        }

    def reread(self, network: Any, vocabulary: "Vocabulary", text: bytes, gap: int) -> float:
        """Return the bits of the second reading over those of the first, of all passages together."""
        import numpy as np
        import torch

        from titans_seq.domains.language.segments import next_token_loss

        rng, widths = np.random.default_rng(0), torch.tensor([len(content) for content in vocabulary.contents])
        once = again = 0.0
        for _ in range(self.passages):
            first, other = (int(start) for start in rng.integers(0, len(text) - gap - LEAD - PASSAGE, 2))
            cuts = ((first, LEAD), (first + LEAD, PASSAGE), (other, gap))
            lead, passage, between = (
                vocabulary.encode(text[start : start + size].decode(errors="ignore")).long() for start, size in cuts
            )
            row = torch.cat([lead, passage, between, passage]).unsqueeze(0)
            with torch.no_grad():
                losses = next_token_loss(network(row[:, :-1])[0], row[:, 1:])[0].double()
            own = widths[passage]
            known = own.cumsum(0) - own >= UNKNOWN
            once += float(losses[len(lead) - 1 :][: len(passage)][known].sum())
            again += float(losses[-len(passage) :][known].sum())
        return again / once


def half_lives(network: Any, tokens: "Tensor") -> list[list[float]]:
    """Return of each memory the half-lives of its heads over a text, tokens."""
    import torch

    from titans_seq.memory.gates import half_life
    from titans_seq.memory.record import record_gates

    with record_gates(network) as calls, torch.no_grad():
        network(tokens.unsqueeze(0))
    return [half_life(call.forget.mean((0, 1))).clamp_max(1e9).tolist() for call in calls]


def _line(row: dict[str, Any]) -> str:
    again = ", ".join(f"{gap}: {share:.3f}" for gap, share in row["again"].items())
    return f"windows {row['windows']:.3f}, stream {row['stream']:.3f} bits, again {again} ({row['steps']} steps)"


def summarize(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by row, mean and standard deviation over seeds of what counts."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        values: dict[str, list[float]] = {}
        for row in rows:
            if row["model"] == model:
                own = {"windows": row["windows"], "stream": row["stream"], **row["again"]}
                for key, value in own.items():
                    values.setdefault(key, []).append(value)
        found[model] = {
            key: dict(zip(("mean", "spread"), mean_and_spread(own), strict=True)) for key, own in values.items()
        }
    return found


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    found, minutes = result["summary"], result["settings"]["minutes"]

    def cells(name: str) -> str:
        return " / ".join(f"{of['mean']:.2f}" for key, of in found[name].items() if key not in ("windows", "stream"))

    gaps = " / ".join(f"{gap:,}" for gap in result["settings"]["gaps"])
    what = (
        f"a passage of wikitext-2 read again after {gaps} bytes, bits in parts of the first reading's ({minutes:g} min)"
    )
    attention = [name for name in found if name.endswith("attention")]
    own = "; ".join(f"{name} {cells(name)}" for name in found if name not in attention)
    return [Figure(what, own, "; ".join(f"{name} {cells(name)}" for name in attention))]
