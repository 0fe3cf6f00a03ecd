"""Training of a classifying network on rows of codes, and its logits in bounded memory.

Axes: N sequences, B sequences of a batch, L letters of the longest in it, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from titans_seq.domains.genomics.alphabet import Rows
from titans_seq.domains.genomics.encoder import pad_rows
from titans_seq.errors import DataError
from titans_seq.training import History, LossFunction, TrainingConfig, train
from titans_seq.validation import check_answer

BATCH_LETTERS = 32_768
"""Letters of a batch at the most, where no gradients are needed; padding included."""

MAX_LETTERS = 100_000
"""Letters of one sequence at the most: all of it is in memory at once, some kilobytes a letter."""


@dataclass
class Batch:
    """Some sequences and their classes."""

    codes: Tensor
    """Codes (B, L) uint8, padded behind."""
    classes: Tensor
    """Numbers of the classes (B,) int64."""
    kmer_logits: Tensor | None = None
    """Logits of the k-mers (B, K), by regressions that were not fitted to these sequences."""

    def __len__(self) -> int:
        return len(self.classes)


class Examples(Dataset[Batch]):
    """Rows, the numbers of their classes, and the logits of their k-mers, where a network takes them."""

    def __init__(self, rows: Rows, classes: NDArray[np.int64]) -> None:
        self.rows, self.classes = rows, torch.from_numpy(classes)
        self.kmer_logits: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a padded batch."""
        codes = torch.from_numpy(pad_rows([self.rows[i] for i in indices]))
        return Batch(codes, self.classes[indices], None if self.kmer_logits is None else self.kmer_logits[indices])

    def sample(self, most: int, seed: int) -> "Examples":
        """Return so many of the examples at the most, drawn by chance."""
        if len(self) <= most:
            return self
        index = np.sort(np.random.default_rng(seed).choice(len(self), most, replace=False))
        return Examples([self.rows[i] for i in index], self.classes.numpy()[index])

    def loader(self, batch_size: int, shuffle: bool = False, seed: int = 0) -> DataLoader[Batch]:
        """Return batches; no sequence is dropped."""
        generator = torch.Generator().manual_seed(seed)
        return DataLoader(self, batch_size, shuffle=shuffle, generator=generator, collate_fn=_identity)


def training_loaders(
    training: Examples, validation: Examples, batch_size: int, seed: int
) -> tuple[DataLoader[Batch], DataLoader[Batch]]:
    """Return the batches that train and those that validate, the latter of bounded size."""
    longest = max(map(len, validation.rows))
    validation_size = max(1, min(4 * batch_size, BATCH_LETTERS // longest))
    return training.loader(batch_size, shuffle=True, seed=seed), validation.loader(validation_size)


def classification_loss(weights: Tensor | None, smoothing: float) -> LossFunction:
    """Return the cross-entropy of a batch; the validation loss is not smoothed.

    Args:
        weights: weights of the classes (K,); None: all the same.
        smoothing: share of each target that is spread over all classes.
    """

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        own = None if weights is None else weights.to(batch.classes.device)
        spread = smoothing if network.training else 0.0
        out = network(batch.codes) if batch.kmer_logits is None else network(batch.codes, batch.kmer_logits)
        return F.cross_entropy(out, batch.classes, own, label_smoothing=spread)

    return loss


def fit_network(network: nn.Module, training: Examples, validation: Examples, config: TrainingConfig) -> History:
    """Train any network that turns codes (B, L) into logits (B, K); see `titans_seq.training.train` for the errors."""
    loaders = training_loaders(training, validation, config.batch_size, config.random_state)
    return train(network, classification_loss(None, 0.0), *loaders, config)


def predict_logits(network: nn.Module, rows: Rows) -> NDArray[np.float32]:
    """Return logits (N, K) of a network, in evaluation mode.

    Raises:
        DataError: a sequence is longer than `MAX_LETTERS`.
    """
    network.eval()
    return apply_network(network, rows, "the logits")


def apply_network(function: Callable[[Tensor], Tensor], rows: Rows, what: str) -> NDArray[np.float32]:
    """Return what a function makes of codes (B, L), as (N, ...).

    Sequences of like length are read together, in batches of at most `BATCH_LETTERS` letters.

    Args:
        what: name of the result in messages.

    Raises:
        DataError: a sequence is longer than `MAX_LETTERS`.
    """
    check_lengths(rows)
    lengths = np.array([len(row) for row in rows])
    order = np.argsort(lengths, kind="stable")
    parts: list[Tensor] = []
    with torch.inference_mode():
        for batch in batch_slices(lengths[order]):
            codes = pad_rows([rows[i] for i in order[batch]])
            parts.append(function(torch.from_numpy(codes)))
    found = torch.cat(parts)
    check_answer(found, what)
    out: NDArray[np.float32] = found.numpy()
    return out[np.argsort(order, kind="stable")]


def batch_slices(lengths: NDArray[np.int64]) -> list[slice]:
    """Return slices of rising lengths (N,) that hold at most `BATCH_LETTERS` letters when padded, or one sequence."""
    slices, start = [], 0
    while start < len(lengths):
        end = start + 1
        while end < len(lengths) and (end + 1 - start) * lengths[end] <= BATCH_LETTERS:
            end += 1
        slices.append(slice(start, end))
        start = end
    return slices


def check_lengths(rows: Rows) -> None:
    """Refuse sequences that would not fit into memory, rather than cut them.

    Raises:
        DataError: a sequence is longer than `MAX_LETTERS`.
    """
    lengths = [len(row) for row in rows]
    if max(lengths) > MAX_LETTERS:
        index = int(np.argmax(lengths))
        raise DataError(
            f"sequence {index + 1} has {lengths[index]:,} letters, more than the {MAX_LETTERS:,} that are read as one: "
            "cut it into windows, or scan it with titans-seq scan"
        )


def _identity(batch: Any) -> Any:
    return batch
