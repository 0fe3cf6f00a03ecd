"""`python -m benchmarks babilong`: questions about facts that are scattered over much longer text, BABILong-style.

Networks of some 0.3 million parameters learn one bAbI task from new stories of its world, scattered over wikitext-2 in
rows of up to `trained` words, and answer the questions of the task's own test file in rows of any length, read as a
stream. Words are tokens, and an answer is one of all words. Not comparable with BABILong's figures of pretrained
language models. Source: Kuratov et al., "BABILong", arXiv 2406.10149.

Axes: B batch, T words.
"""

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.by_length import MODELS, Titles, list_lengths, list_shares, measure
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_doubled, check_options, check_rows, row_backbone
from titans_seq.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.scattered import Background

PART = 50
"""Steps between two looks at the validation rows."""
VOCABULARY = 2000
"""Words; all others are unknown ones."""
PIECE = 8192
"""Words that are read at once in the tests."""


@dataclass(frozen=True, kw_only=True)
class Babilong(BenchmarkOptions):
    """Share of bAbI questions that are answered when the facts are scattered over long text, by backbone and length."""

    task: str = "qa1"
    """qa1 to qa5."""
    models: tuple[str, ...] = tuple(MODELS)
    """Rows."""
    trained: int = 2048
    """Words of the longest training rows, 32 times a power of two."""
    lengths: tuple[int, ...] = (256, 1024, 4096, 16_384, 131_072, 1_048_576)
    """Words of the test rows."""
    tests: int = 100
    """Questions of each length at the most."""
    test_words: int = 4_194_304
    """Words of each length's rows together at the most, but 10 rows at the least."""
    steps: int = 1500
    """Training steps."""
    words: int = 4096
    """Of a step."""
    dim: int = 64
    """Width; 2 heads."""
    layers: int = 2
    """Blocks."""
    window: int = 32
    """Words that attention sees, with and without a memory beside it."""
    chunk_size: int = 16
    """Of the memory."""
    conv_kernel: int = 8
    """Of its convolutions: a place stands up to five words behind the person that goes there."""
    learning_rate: float = 3e-3
    """Peak rate."""
    seeds: int = 3
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        from benchmarks.babi import TASKS
        from benchmarks.scattered import SHORTEST
        from titans_seq.datasets import fetch
        from titans_seq.domains.language.datasets import DATASETS

        check_options(
            self, "tests", "test_words", "steps", "words", "dim", "layers", "window", "chunk_size", "conv_kernel",
            "seeds",
        )  # fmt: skip
        check_rows(self, MODELS, "lengths")
        if self.task not in TASKS:
            raise DataError(f"task must be one of {', '.join(TASKS)}, not {self.task!r}")
        check_doubled(self, "trained", SHORTEST)
        for model in self.models:
            self.backbone(model)
        for name in (f"babi-{self.task}", *(f"wikitext2-{part}" for part in ("train", "valid", "test"))):
            fetch(name, DATASETS)  # before hours of work
        titles = Titles(
            f"{self.task} in wikitext-2, trained on up to {self.trained:,} words",
            f"% of {self.task} answered by words of text", "words of text", 1 / 6,
        )  # fmt: skip
        return measure(self, f"babilong-{self.task}", tuple(MODELS), "answered", titles)

    def backbone(self, model: str) -> Any:
        """Return the configuration of a row."""
        return row_backbone(self, ("dim", "layers", "window", "chunk_size", "conv_kernel"), MODELS[model])

    def once(self, model: str, seed: int) -> dict[str, Any]:
        """Train and test one network."""
        import numpy as np
        from torch.utils.data import DataLoader

        from benchmarks.babi import draw_story
        from benchmarks.scattered import Background, ScatteredStories, Words
        from titans_seq.datasets import fetch
        from titans_seq.domains.language.datasets import DATASETS
        from titans_seq.domains.language.recall import RecallNetwork, recall_loss
        from titans_seq.memory.record import without_writes
        from titans_seq.training import TrainingConfig, temporary_seed, train

        texts = {p: fetch(f"wikitext2-{p}", DATASETS).read_text(encoding="utf-8") for p in ("train", "valid", "test")}
        words = Words(texts["train"], VOCABULARY)
        part = min(PART, self.steps)
        epochs = -(-self.steps // part)
        with temporary_seed(seed):
            network = RecallNetwork(self.backbone(model), len(words))
        rows = ScatteredStories(self.task, Background(texts["train"], words), self.trained, self.words, part, 3 * seed)

        def loss(network: Any, batch: Any) -> "Tensor":
            found = recall_loss(network, batch)
            if network.training:
                rows.growth.judge(float(found.detach()))
            return found

        rng = np.random.default_rng(3 * seed + 1)
        stories = iter(lambda: draw_story(self.task, rng), None)
        held_back = Background(texts["valid"], words).rows(stories, 32, self.trained, rng)
        history = train(
            network,
            loss,
            DataLoader(rows, batch_size=None),
            DataLoader([held_back], batch_size=None),  # type: ignore[arg-type]
            TrainingConfig(
                max_epochs=epochs, patience=epochs, learning_rate=self.learning_rate, random_state=seed,
                optimizer="muon", gate_cost=MODELS[model].get("gate_cost", 0.0), verbose=sys.stderr.isatty(),
            ),
        )  # fmt: skip
        started = time.perf_counter()
        text = Background(texts["test"], words)
        tested = {str(length): self.test(network, text, length, seed) for length in self.lengths}
        with without_writes(network):
            silent, _ = self.test(network, text, min(self.lengths), seed)
        return {
            "answered": {length: right for length, (right, _) in tested.items()},
            "questions": {length: asked for length, (_, asked) in tested.items()},
            "answered_without_writes": silent,
            "validation_loss": history.validation_loss,
            "longest_trained": rows.growth.length,
            "steps": part * len(history.train_loss),
            "parameters": sum(p.numel() for p in network.parameters()),
            "seconds": history.seconds,
            "test_seconds": time.perf_counter() - started,
        }

    def test(self, network: Any, text: "Background", length: int, seed: int) -> tuple[float, int]:
        """Return the share of questions of the test file that are answered at a length, and how many were asked."""
        import numpy as np
        import torch

        from benchmarks.babi import read_stories
        from titans_seq.datasets import fetch
        from titans_seq.domains.language.datasets import DATASETS

        (path,) = fetch(f"babi-{self.task}", DATASETS).glob(f"{self.task}_*_test.txt")
        rng = np.random.default_rng(3 * seed + 2)
        stories = read_stories(path)
        order = iter([stories[i] for i in rng.permutation(len(stories))])
        count = min(self.tests, max(10, self.test_words // length))
        right = asked = 0
        while asked < count:
            tokens, labels = text.rows(order, min(count - asked, max(1, 16 * PIECE // length)), length, rng)
            if not len(tokens):
                break
            with torch.no_grad():
                right += int((answer(network, tokens) == labels[:, -1]).sum())
            asked += len(tokens)
        return right / max(1, asked), asked


def answer(network: Any, tokens: "Tensor") -> "Tensor":
    """Return the word that a network gives behind rows of words, (B,), read as streams, for (B, T)."""
    state = None
    for part in tokens.split(PIECE, 1):
        hidden, state = network.backbone(network.embedding(part), state)
    found: Tensor = (hidden[:, -1] @ network.embedding.weight.T).argmax(-1)
    return found


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    settings, found = result["settings"], result["summary"]
    what = (
        f"bAbI {settings['task']} scattered over {list_lengths(found)} words of wikitext-2, trained on up to "
        f"{settings['trained']:,} (BABILong-style); % answered"
    )
    return [Figure(what, *list_shares(found))]
