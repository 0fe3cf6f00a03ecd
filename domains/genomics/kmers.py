"""Counts of k-mers, and the linear model on them that a network starts from.

Axes: N sequences, B sequences of a batch, L letters, W places of a k-mer, V k-mers, K classes.
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from titans_seq.domains.genomics.alphabet import PAD, UNKNOWN, reverse_complement

STRENGTHS = (1e-5, 1e-4, 3e-4, 1e-3, 1e-2)
"""Inverse strengths of the penalty to choose from."""

SHORTER = 2
"""By how many letters k-mers may be shorter than was asked for: fewer k-mers need less data."""

FOLDS = 5
"""Regressions that each leave out a part of the training sequences."""


class KmerLogits(nn.Module):
    """Logits that are linear in the shares of all k-mers, or of their first letters.

    Zero until `fit_regression` has set them, then fixed.
    """

    slope: Tensor
    level: Tensor

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("slope", torch.zeros(4**size, classes))
        self.register_buffer("level", torch.zeros(classes))

    def forward(self, codes: Tensor) -> Tensor:
        """Return logits (B, K) of codes (B, L) int64."""
        short = max(0, self.size - codes.shape[1])
        kmer = F.pad(codes, (0, short), value=PAD).unfold(1, self.size, 1)  # (B, W, k)
        whole = (kmer < UNKNOWN).all(-1)
        index = (kmer * 4 ** torch.arange(self.size, device=codes.device)).sum(-1).masked_fill(~whole, 0)
        share = whole / whole.sum(1, keepdim=True).clamp_min(1)
        return F.embedding_bag(index, self.slope, mode="sum", per_sample_weights=share.to(self.slope)) + self.level

    def fit_regression(
        self,
        training: tuple[Sequence[NDArray[np.uint8]], NDArray[np.int64]],
        validation: tuple[Sequence[NDArray[np.uint8]], NDArray[np.int64]],
        weights: NDArray[np.float64] | None,
        both: bool,
    ) -> NDArray[np.float32]:
        """Set the logits to a logistic regression; the validation loss chooses penalty, and shorter k-mers that win.

        Args:
            training, validation: rows and class numbers (N,).
            weights: of the training sequences (N,).
            both: count the k-mers of both strands.

        Returns:
            Logits (N, K) of the training sequences, each by a regression that was fitted without it: on what it was
            fitted to, a regression is surer than on anything else.
        """
        counted = [self._counts(part[0], both) for part in (training, validation)]
        classes = self.slope.shape[1]
        best = np.inf
        for letters in range(max(1, self.size - SHORTER), self.size + 1):
            known, other = (_shares(counts, letters) for counts in counted)
            scale = StandardScaler(with_mean=False).fit(known)
            known, other = scale.transform(known), scale.transform(other)
            model = LogisticRegression(max_iter=300, warm_start=True)
            for strength in STRENGTHS:
                loss = log_loss(
                    validation[1],
                    _fit(model.set_params(C=strength), known, training[1], weights).predict_proba(other),
                    labels=np.arange(classes),
                )
                if loss < best:
                    best, chosen, shares = loss, strength, known
                    slope, level = _centre(model.coef_) / scale.scale_, _centre(model.intercept_)
        shorter = np.arange(4**self.size) % slope.shape[1]  # the first letters of each k-mer
        self.slope.copy_(torch.from_numpy(slope.T[shorter]))
        self.level.copy_(torch.from_numpy(level))
        unseen = np.zeros((len(training[1]), classes), dtype=np.float32)
        for seen, rest in _folds(training[1]):
            own = None if weights is None else weights[seen]
            model = _fit(LogisticRegression(C=chosen, max_iter=300), shares[seen], training[1][seen], own)
            unseen[rest] = shares[rest] @ _centre(model.coef_).T + _centre(model.intercept_)
        return unseen

    def _counts(self, rows: Sequence[NDArray[np.uint8]], both: bool) -> sparse.csr_matrix:
        counts = count_kmers(rows, self.size)
        return counts + count_kmers([reverse_complement(row) for row in rows], self.size) if both else counts


def _shares(counts: sparse.csr_matrix, letters: int) -> sparse.csr_matrix:
    """Return the shares (N, 4 ** letters) of the first letters of k-mers that were counted (N, V)."""
    words = counts.shape[1]
    first = sparse.csr_matrix((np.ones(words), (np.arange(words), np.arange(words) % 4**letters)))
    total = np.maximum(np.asarray(counts.sum(1)), 1)
    return sparse.csr_matrix((counts @ first).multiply(1 / total))


def _fit(
    model: LogisticRegression, shares: sparse.csr_matrix, labels: NDArray[np.int64], weights: NDArray[np.float64] | None
) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(shares, labels, weights)


def _centre(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (2, ...) for (1, ...): of two classes a regression has the second one's logit alone."""
    return np.concatenate([-values, values]) / 2 if len(values) == 1 else values


def _folds(labels: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield who is seen and who is not, all classes on both sides; nothing where a class has one sequence."""
    count = min(FOLDS, int(np.bincount(labels).min()))
    if count > 1:
        yield from StratifiedKFold(count, shuffle=True, random_state=0).split(labels, labels)


def count_kmers(rows: Sequence[NDArray[np.uint8]], letters: int) -> sparse.csr_matrix:
    """Return how often each k-mer stands in a row, (N, V); those with an unknown letter do not count."""
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
