"""`python -m benchmarks needle`: networks learn to find needles in short texts, and look for them in far longer ones.

Every network sees the same examples; lengths beyond the trained one are never trained on. A needle counts as found if
the greedy answer holds its value (see `domains.language.needle`). Writing and forgetting have a price in training
(`gate_cost`): otherwise nothing in so few bytes teaches a memory not to write over a needle later. Half-lives begin
spread from 16 to 100,000 bytes: even the shortest example is longer than what heads keep that all begin with the first.

Axes: B batch, T bytes.
"""

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.by_length import MODELS, Titles, list_lengths, list_shares, measure
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_doubled, check_options, check_rows, row_backbone
from titans_seq.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from titans_seq.domains.language.retrieval import NeedleBatch

SHORTEST = 512
"""Bytes of an example at first."""

ROOM = {"passkey": 16, "number": 16, "uuid": 40}
"""Bytes of an answer at the most: a value has to come at once."""

PART = 100
"""Steps between two looks at the validation examples."""


@dataclass(frozen=True, kw_only=True)
class Needle(BenchmarkOptions):
    """Share of needles that every backbone finds beside windowed attention, by length, over several seeds."""

    models: tuple[str, ...] = tuple(MODELS)
    """Rows; all with the same window."""
    kind: Literal["passkey", "number", "uuid"] = "passkey"
    """Number in repeated sentences, or number or uuid in natural text (the chapters that come with Python)."""
    trained: int = 2048
    """Bytes of the longest training examples, 512 times a power of two."""
    lengths: tuple[int, ...] = (512, 2048, 16_384, 131_072)
    """Bytes of a test example."""
    tests: int = 50
    """Examples of each length at the most."""
    test_bytes: int = 2_097_152
    """Bytes of each length's examples together at the most, but 10 examples at the least."""
    parameters: int = 250_000
    """Of each network, with the embedding; the gated MLP takes what the mixers leave."""
    steps: int = 1000
    """Training steps."""
    bytes: int = 4096
    """Of a step."""
    dim: int = 64
    """Width; 2 heads, where a row has no number of its own."""
    layers: int = 2
    """Blocks."""
    window: int = 64
    """Bytes that attention sees, with and without a memory beside it."""
    chunk_size: int = 16
    """Of the memory."""
    conv_kernel: int = 8
    """Of its convolutions."""
    half_life: float = 16.0
    """Bytes after which half of a write is gone, at first, in the first head; in the last one after 100,000."""
    learning_rate: float = 3e-3
    """Peak rate."""
    seeds: int = 3
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "parameters", "steps", "bytes", "tests", "test_bytes", "seeds")
        check_rows(self, MODELS, "lengths")
        check_doubled(self, "trained", SHORTEST)
        for model in self.models:
            self.backbone(model)
        for length in self.lengths:
            self.task(length)
        titles = Titles(
            f"needles ({self.kind}) found, trained on up to {self.trained:,} bytes", "% of needles found by bytes",
            "bytes of text", 0.0,
        )  # fmt: skip
        return measure(self, f"needle-{self.kind}", tuple(MODELS), "found", titles)

    def task(self, length: int) -> Any:
        """Return examples of a length, all of the same number of bytes."""
        from titans_seq.domains.language.needle import NeedleTask

        return NeedleTask(kind=self.kind, length=length, answer_bytes=ROOM[self.kind], even=True)

    def backbone(self, model: str) -> Any:
        """Return the configuration of a row, at the number of parameters asked for."""
        from titans_seq.backbone.presets import fit_parameters
        from titans_seq.domains.language.vocabulary import BYTES

        more = {"longest_half_life": 100_000.0, **MODELS[model]}
        config = row_backbone(self, ("dim", "layers", "window", "chunk_size", "conv_kernel", "half_life"), more)
        try:
            return fit_parameters(config, self.parameters - (BYTES + 1) * self.dim)
        except ValueError as error:
            raise DataError(str(error)) from error

    def once(self, model: str, seed: int) -> dict[str, Any]:
        """Train and test one network."""
        from torch.utils.data import DataLoader

        from benchmarks.growing_needles import GrowingNeedles
        from titans_seq.domains.language.needle import needle_examples
        from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
        from titans_seq.domains.language.retrieval import answer_loss, collate_needles, needle_accuracy, needle_loader
        from titans_seq.domains.language.text import embedded_text
        from titans_seq.domains.language.vocabulary import BYTES
        from titans_seq.memory.record import without_writes
        from titans_seq.training import TrainingConfig, temporary_seed, train

        haystack = None if self.kind == "passkey" else embedded_text()
        part = min(PART, self.steps)
        epochs = -(-self.steps // part)
        with temporary_seed(seed):
            network = LanguageNetwork(LanguageConfig(vocabulary=BYTES + 1, backbone=self.backbone(model)))
        rows = GrowingNeedles(self.task(SHORTEST), self.trained, self.bytes, part, 3 * seed, haystack)
        held_back = collate_needles(needle_examples(self.task(self.trained), 32, 3 * seed + 1, haystack))

        def loss(network: Any, batch: "NeedleBatch") -> "Tensor":
            found = answer_loss(network, batch)
            if network.training:
                rows.growth.judge(float(found.detach()))
            return found

        history = train(
            network,
            loss,
            needle_loader(rows),
            DataLoader([held_back], batch_size=None),  # type: ignore[arg-type]
            TrainingConfig(
                max_epochs=epochs, patience=epochs, learning_rate=self.learning_rate, random_state=seed,
                optimizer="muon", gate_cost=MODELS[model].get("gate_cost", 0.0), verbose=sys.stderr.isatty(),
            ),
        )  # fmt: skip
        started = time.perf_counter()

        def test(length: int) -> float:
            count = min(self.tests, max(10, self.test_bytes // length))
            examples = needle_examples(self.task(length), count, 3 * seed + 2, haystack)
            return needle_accuracy(network, examples, ROOM[self.kind])

        found = {str(length): test(length) for length in self.lengths}
        with without_writes(network):
            silent = test(min(self.lengths))
        return {
            "found": found,
            "found_without_writes": silent,
            "validation_loss": history.validation_loss,
            "longest_trained": rows.growth.length,
            "steps": part * len(history.train_loss),
            "parameters": sum(p.numel() for p in network.parameters()),
            "seconds": history.seconds,
            "test_seconds": time.perf_counter() - started,
        }


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    settings, found = result["settings"], result["summary"]
    what = (
        f"a {settings['kind']} in a haystack (S-NIAH) of {list_lengths(found)} bytes, trained on up to "
        f"{settings['trained']:,}, {settings['parameters'] / 1e6:.2f} M parameters; % found"
    )
    return [Figure(what, *list_shares(found))]
