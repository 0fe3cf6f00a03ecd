"""A backbone that answers recall tasks, and what is right of its answers.

Axes: B batch, T tokens, A answers asked for in a batch.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from titans_seq.backbone import BackboneConfig, TitansBackbone
from titans_seq.domains.language.mqar import IGNORED, Recall


class RecallNetwork(nn.Module):
    """Tied embedding around a backbone; only the answers that are asked for go through the large head."""

    def __init__(self, config: BackboneConfig, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, config.dim)
        nn.init.normal_(self.embedding.weight, std=0.01)
        self.backbone = TitansBackbone(config)

    def forward(self, tokens: Tensor, asked: Tensor) -> Tensor:
        """tokens (B, T) int64, asked (B, T) bool with A true: logits (A, vocabulary)."""
        h, _ = self.backbone(self.embedding(tokens))
        logits: Tensor = h[asked] @ self.embedding.weight.T
        return logits


def recall_loss(network: nn.Module, batch: list[Tensor]) -> Tensor:
    """Cross entropy over the answers of (tokens, labels)."""
    tokens, labels = batch
    asked = labels != IGNORED
    return F.cross_entropy(network(tokens, asked), labels[asked])


@torch.no_grad()
def recall_accuracy(network: nn.Module, examples: Recall, batch: int = 250) -> float:
    """Share of the answers that are right."""
    right = total = 0
    for tokens, labels in zip(examples.tokens.split(batch), examples.labels.split(batch), strict=True):
        asked = labels != IGNORED
        right += int((network(tokens, asked).argmax(-1) == labels[asked]).sum())
        total += int(asked.sum())
    return right / total


def recall_loader(examples: Recall, batch: int, an_epoch: int | None, seed: int) -> DataLoader[Any]:
    """Batches (tokens, labels): `an_epoch` examples in random order, other ones in each epoch; None: all, in order."""
    data = TensorDataset(*examples)
    if an_epoch is None:
        return DataLoader(data, batch_size=batch)
    generator = torch.Generator().manual_seed(seed)
    sampler = RandomSampler(data, replacement=True, num_samples=an_epoch, generator=generator)
    return DataLoader(data, batch_size=batch, sampler=sampler, drop_last=True)
