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
from titans_seq.domains.language.segments import next_token_loss
from titans_seq.domains.language.vocabulary import BYTES
from titans_seq.memory.record import record_gates


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


class AnswerLoss:
    """Mean cross entropy of the answers, nats per byte; in training, writing costs.

    A needle is lost less to forgetting than to all that is written over it. A price on the step size teaches a memory
    to write what is asked for and little else, so that it keeps it over texts much longer than those of the training.
    The price is concave, so that a few large steps cost less than many small ones, and in proportion to the probability
    of the answers: a network that does not know them yet would learn not to write before it has learned to recall.

    Args:
        write_cost: nats times the mean root of the step size theta, over all memories, heads and tokens.
    """

    def __init__(self, write_cost: float = 0.0) -> None:
        self.write_cost = write_cost

    def __call__(self, network: nn.Module, batch: NeedleBatch) -> Tensor:
        with record_gates(network) as gates:
            logits, _ = network(batch.tokens[:, :-1])
        loss = next_token_loss(logits, batch.tokens[:, 1:])[batch.answers].mean()
        if not network.training or not gates:
            return loss
        written = torch.stack([g.step_size.sqrt().mean() for g in gates]).mean()
        return loss + self.write_cost * torch.exp(-loss.detach()) * written


@torch.inference_mode()
def needle_accuracy(network: LanguageNetwork, examples: Sequence[Needle], answer_bytes: int, batch: int = 16) -> float:
    """Return share of the needles that are found in greedily generated answers; prompts must be of one length."""
    network.eval()
    right = 0
    for start in range(0, len(examples), batch):
        part = examples[start : start + batch]
        rows = [np.frombuffer(e.prompt.encode(), np.uint8).astype(np.int64) for e in part]
        logits, state = network(torch.from_numpy(np.stack(rows)))
        drawn = []
        for _ in range(answer_bytes):
            drawn.append(logits[:, -1, :BYTES].argmax(-1, keepdim=True))
            logits, state = network(drawn[-1], state)
        answers = torch.cat(drawn, 1).to(torch.uint8).numpy()
        right += sum(found(bytes(a).decode("utf-8", "replace"), e.value) for a, e in zip(answers, part, strict=True))
    return right / len(examples)
