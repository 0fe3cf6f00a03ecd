"""Learning from sequences without classes: hidden letters are told from those around them.

Axes: B sequences, L letters, T tokens, C channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq.domains.genomics.alphabet import UNKNOWN, Rows
from titans_seq.domains.genomics.fitting import Batch, Examples, training_loaders
from titans_seq.domains.genomics.network import DNANetwork
from titans_seq.domains.genomics.strand import reverse_complement_tensor
from titans_seq.training import History, TrainingConfig, train
from titans_seq.training.weights import copy_weights

HIDDEN = 0.15
"""Share of the letters that are hidden."""
READING = ("motifs.", "motif_norm.", "context.", "context_norm.", "mixer.")
"""Names of the parts of a network that read sequences, whatever the classes."""


class MaskedLetters(nn.Module):
    """A classifying network up to its mixed tokens, and a head that tells the letters of each token."""

    def __init__(self, network: DNANetwork) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Linear(network.config.backbone.dim, UNKNOWN * network.config.pool)

    def forward(self, codes: Tensor) -> Tensor:
        """Return logits (B, L, 4) of the letters of codes (B, L) int64, some of them hidden as unknown ones."""
        x, mask = self.network.embed(codes)
        h = self.network.mixer(self.network.dropout(x), mask)
        letters: Tensor = self.head(h).unflatten(-1, (self.network.config.pool, UNKNOWN)).flatten(1, 2)
        return letters[:, : codes.shape[1]]


def masked_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Return the cross-entropy of the hidden letters; in training other ones every time, on a strand of chance."""
    codes = batch.codes.long()
    if network.training:
        swapped = torch.rand(len(codes), 1, device=codes.device) < 0.5
        codes = reverse_complement_tensor(codes).where(swapped, codes)
        hidden = torch.rand(codes.shape, device=codes.device) < HIDDEN
    else:
        hidden = (torch.arange(codes.numel(), device=codes.device) % round(1 / HIDDEN) == 0).view(codes.shape)
    hidden &= codes < UNKNOWN
    if not bool(hidden.any()):
        return codes.new_zeros((), dtype=torch.float32)
    logits = network(codes.masked_fill(hidden, UNKNOWN))
    return F.cross_entropy(logits[hidden], codes[hidden])


@dataclass(frozen=True)
class Pretrained:
    """What came of pretraining."""

    weights: dict[str, Tensor]
    """Of the network up to its mixed tokens, by name."""
    pool: int
    """Letters of a token."""
    history: History


def pretrain_network(network: DNANetwork, training: Rows, validation: Rows, config: TrainingConfig) -> Pretrained:
    """Train the part of a network that reads sequences on sequences without classes."""
    model = MaskedLetters(network)
    first, second = (Examples(rows, np.zeros(len(rows), dtype=np.int64)) for rows in (training, validation))
    loaders = training_loaders(first, second, config.batch_size, config.random_state)
    history = train(model, masked_loss, *loaders, config)
    weights = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(READING)}
    return Pretrained(weights, network.config.pool, history)


def take_weights(network: DNANetwork, weights: Mapping[str, Tensor], with_head: bool) -> None:
    """Copy weights into a network: all that there are, or only those of its parts that read sequences.

    Raises:
        DataError: the network has other sizes.
    """
    copy_weights(network, {name: t for name, t in weights.items() if with_head or name.startswith(READING)})
