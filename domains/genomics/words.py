"""Counts of short words (k-mers), and the linear model on them that a network starts from.

Axes: N sequences, B sequences of a batch, L letters, W places of a word, V words, K classes.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from titans_seq.domains.genomics.alphabet import PAD, UNKNOWN, reverse_complement

STRENGTHS = (1e-5, 1e-4, 3e-4, 1e-3, 1e-2)
"""Inverse strengths of the penalty to choose from."""


class Words(nn.Module):
    """Logits that are linear in the shares of all words of k letters; zero until `start` has set it, then fixed."""

    weight: Tensor
    bias: Tensor

    def __init__(self, letters: int, classes: int) -> None:
        super().__init__()
        self.letters = letters
        self.register_buffer("weight", torch.zeros(4**letters, classes))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, L) int64 to (B, K)."""
        short = max(0, self.letters - codes.shape[1])
        word = F.pad(codes, (0, short), value=PAD).unfold(1, self.letters, 1)  # (B, W, k)
        whole = (word < UNKNOWN).all(-1)
        index = (word * 4 ** torch.arange(self.letters, device=codes.device)).sum(-1).masked_fill(~whole, 0)
        share = whole / whole.sum(1, keepdim=True).clamp_min(1)
        return F.embedding_bag(index, self.weight, mode="sum", per_sample_weights=share.to(self.weight)) + self.bias

    def start(
        self,
        training: tuple[Sequence[NDArray[np.uint8]], NDArray[np.int64]],
        validation: tuple[Sequence[NDArray[np.uint8]], NDArray[np.int64]],
        weights: NDArray[np.float64] | None,
        both: bool,
    ) -> None:
        """Set it to a logistic regression; the validation loss chooses how strong its penalty is.

        Args:
            training, validation: rows and class numbers (N,).
            weights: of the training sequences (N,).
            both: count the words of both strands.
        """
        scale = StandardScaler(with_mean=False)
        known = scale.fit_transform(self._shares(training[0], both))
        other = scale.transform(self._shares(validation[0], both))
        classes = self.weight.shape[1]
        best = np.inf
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=300)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(known, training[1], weights)
            loss = log_loss(validation[1], model.predict_proba(other), labels=np.arange(classes))
            if loss < best:
                best, slope, level = loss, model.coef_ / scale.scale_, model.intercept_
        if classes == 2:
            slope, level = np.vstack([-slope, slope]) / 2, np.concatenate([-level, level]) / 2
        self.weight.copy_(torch.from_numpy(slope.T))
        self.bias.copy_(torch.from_numpy(level))

    def _shares(self, rows: Sequence[NDArray[np.uint8]], both: bool) -> sparse.csr_matrix:
        counts = count_words(rows, self.letters)
        if both:
            counts = counts + count_words([reverse_complement(row) for row in rows], self.letters)
        total = np.maximum(np.asarray(counts.sum(1)), 1)
        return sparse.csr_matrix(counts.multiply(1 / total))


def count_words(rows: Sequence[NDArray[np.uint8]], letters: int) -> sparse.csr_matrix:
    """How often each word of so many letters stands in a row, (N, V); words with an unknown letter do not count."""
    powers = 4 ** np.arange(letters)
    indices, ends = [np.empty(0, dtype=np.int64)], [0]
    for row in rows:
        if len(row) >= letters:
            words = np.lib.stride_tricks.sliding_window_view(row, letters)
            found = words[(words < UNKNOWN).all(1)] @ powers
        else:
            found = np.empty(0, dtype=np.int64)
        indices.append(found)
        ends.append(ends[-1] + len(found))
    index = np.concatenate(indices)
    table = sparse.csr_matrix((np.ones(len(index)), index, ends), shape=(len(rows), 4**letters))
    table.sum_duplicates()
    return table
