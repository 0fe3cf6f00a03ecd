"""Networks that learn to find needles, and what share they find.

Axes: B batch, T tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from titans_seq.domains.language.needle import Needle, NeedleTask, found, needle_examples
from titans_seq.domains.language.network import LanguageNetwork
from titans_seq.domains.language.rows import read_rows
from titans_seq.domains.language.segments import next_token_loss
from titans_seq.domains.language.vocabulary import BYTES


@dataclass
class NeedleBatch:
    """Prompts of the same number of bytes, each with its answer behind it."""

    tokens: Tensor
    """(B, T + 1) bytes: inputs, and each one's successor."""
    answers: Tensor
    """(B, T) bool: where the successor belongs to the answer."""

    def __len__(self) -> int:
        return len(self.tokens)


def collate_needles(examples: Sequence[Needle]) -> NeedleBatch:
    """Return examples of one length as tensors."""
    replies = [f" {e.value}" for e in examples]
    rows = [np.frombuffer((e.prompt + r).encode(), np.uint8) for e, r in zip(examples, replies, strict=True)]
    tokens = torch.from_numpy(np.stack(rows).astype(np.int64))
    answers = torch.zeros(tokens.shape[0], tokens.shape[1] - 1, dtype=torch.bool)
    answers[:, -len(replies[0]) :] = True
    return NeedleBatch(tokens, answers)


class NeedleBatches(IterableDataset[NeedleBatch]):
    """Batches of new examples in each pass, or of the same ones (`fixed`)."""

    def __init__(
        self, task: NeedleTask, batch: int, count: int, seed: int, haystack: str | None = None, fixed: bool = False
    ) -> None:
        super().__init__()
        self.task, self.batch, self.count, self.haystack, self.fixed = task, batch, count, haystack, fixed
        self.seeds = np.random.default_rng(seed)
        self.kept = [self._make() for _ in range(count)] if fixed else []

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[NeedleBatch]:
        yield from self.kept if self.fixed else (self._make() for _ in range(self.count))

    def _make(self) -> NeedleBatch:
        return collate_needles(needle_examples(self.task, self.batch, int(self.seeds.integers(2**62)), self.haystack))


def needle_loader(batches: NeedleBatches) -> DataLoader[NeedleBatch]:
    """Return batches as `titans_seq.training.train` takes them."""
    return DataLoader(batches, batch_size=None)


def answer_loss(network: nn.Module, batch: NeedleBatch) -> Tensor:
    """Return mean cross entropy of the answers, nats per byte."""
    logits, _ = network(batch.tokens[:, :-1])
    return next_token_loss(logits, batch.tokens[:, 1:])[batch.answers].mean()


@torch.inference_mode()
def needle_accuracy(network: LanguageNetwork, examples: Sequence[Needle], answer_bytes: int, batch: int = 16) -> float:
    """Return share of the needles that are found in greedily generated answers."""
    network.eval()
    right = 0
    for start in range(0, len(examples), batch):
        part = examples[start : start + batch]
        rows = [torch.from_numpy(np.frombuffer(e.prompt.encode(), np.uint8).astype(np.int64)) for e in part]
        last, state = read_rows(network, rows)
        drawn = []
        for _ in range(answer_bytes):
            drawn.append(last[:, :BYTES].argmax(-1, keepdim=True))
            logits, state = network(drawn[-1], state)
            last = logits[:, -1]
        answers = torch.cat(drawn, 1).to(torch.uint8).numpy()
        right += sum(found(bytes(a).decode("utf-8", "replace"), e.value) for a, e in zip(answers, part, strict=True))
    return right / len(examples)
