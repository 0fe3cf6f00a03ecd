"""A backbone that answers recall tasks, and what is right of its answers.

Axes: B batch, T tokens, A answers asked for in a batch.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from titans_seq.backbone import BackboneConfig, TitansBackbone
from titans_seq.domains.language.mqar import Recall, RecallTask, recall_examples
from titans_seq.domains.language.vocabulary import IGNORED


class RecallNetwork(nn.Module):
    """Tied embedding around a backbone; only the answers that are asked for go through the large head."""

    def __init__(self, config: BackboneConfig, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, config.dim)
        nn.init.normal_(self.embedding.weight, std=0.01)
        self.backbone = TitansBackbone(config)

    def forward(self, tokens: Tensor, asked: Tensor) -> Tensor:
        """Return logits (A, vocabulary) of tokens (B, T) int64 where asked (B, T) bool, A of them."""
        h, _ = self.backbone(self.embedding(tokens))
        logits: Tensor = h[asked] @ self.embedding.weight.T
        return logits


def recall_loss(network: nn.Module, batch: Recall) -> Tensor:
    """Return cross entropy over the answers of (tokens, labels)."""
    tokens, labels = batch
    asked = labels != IGNORED
    return F.cross_entropy(network(tokens, asked), labels[asked])


@torch.no_grad()
def recall_accuracy(network: nn.Module, examples: Recall, batch: int = 250) -> float:
    """Return share of the answers that are right."""
    right = total = 0
    for tokens, labels in zip(examples.tokens.split(batch), examples.labels.split(batch), strict=True):
        asked = labels != IGNORED
        right += int((network(tokens, asked).argmax(-1) == labels[asked]).sum())
        total += int(asked.sum())
    return right / total


class RecallMixture(IterableDataset[Recall]):
    """Batches of new examples, each of one task of several; half of a batch holds as many pairs as fit.

    Tasks whose keys are written again come alone at first: they have the most to recall, so that a network learns from
    them soonest that there is anything to recall.

    Args:
        tokens: of a batch; longer examples come in smaller batches.
        count: batches of a pass.
        alone: first batches that are of tasks whose keys are written again, if there are any.
    """

    def __init__(self, tasks: Sequence[RecallTask], tokens: int, count: int, seed: int, alone: int = 0) -> None:
        super().__init__()
        self.tasks, self.tokens, self.count, self.alone = tasks, tokens, count, alone
        self.first = [task for task in tasks if task.rewrites] or tasks
        self.drawn = 0
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Recall]:
        for _ in range(self.count):
            tasks = self.first if self.drawn < self.alone else self.tasks
            task = tasks[int(self.rng.integers(len(tasks)))]
            self.drawn += 1
            half = max(1, self.tokens // task.length // 2)
            parts = [recall_examples(t, half, int(self.rng.integers(2**62))) for t in (task.filled(), task)]
            yield Recall(*(torch.cat(both) for both in zip(*parts, strict=True)))


def recall_loader(batches: Iterable[Recall]) -> DataLoader[Recall]:
    """Return batches as `titans_seq.training.train` takes them."""
    data = batches if isinstance(batches, IterableDataset) else list(batches)
    return DataLoader(data, batch_size=None)  # type: ignore[arg-type]
