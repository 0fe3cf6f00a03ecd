"""The linear model on k-mers that a network starts from.

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
from titans_seq.domains.genomics.kmers import count_kmers, shorten_kmers

INVERSE_PENALTIES = (1e-5, 1e-4, 3e-4, 1e-3, 1e-2)
"""Inverse strengths of the penalty (C of scikit-learn) to choose from."""

MAX_SHORTENING = 2
"""By how many letters k-mers may be shorter than was asked for: fewer k-mers need less data."""

FOLDS = 5
"""Regressions that each leave out a part of the training sequences."""


class KmerLogits(nn.Module):
    """Logits that are linear in the shares of all k-mers, or of their first letters.

    Zero until `fit_regression` has set them, then fixed.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("weight", torch.zeros(4**size, classes))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, codes: Tensor) -> Tensor:
        """Return logits (B, K) of codes (B, L) int64."""
        missing = max(0, self.size - codes.shape[1])
        kmers = F.pad(codes, (0, missing), value=PAD).unfold(1, self.size, 1)  # (B, W, k)
        mask = (kmers < UNKNOWN).all(-1)
        index = (kmers * 4 ** torch.arange(self.size, device=codes.device)).sum(-1).masked_fill(~mask, 0)
        share = mask / mask.sum(1, keepdim=True).clamp_min(1)
        return F.embedding_bag(index, self.weight, mode="sum", per_sample_weights=share.to(self.weight)) + self.bias

    def one_hot_logits(self, letters: Tensor) -> Tensor:
        """Return logits (B, K) of one-hot letters (B, 4, L): each k-mer weighs as the product of its letters."""
        classes = self.weight.shape[1]
        missing = max(0, self.size - letters.shape[2])
        windows = F.pad(letters, (0, missing)).unfold(2, self.size, 1)  # (B, 4, W, k)
        is_known = windows.detach().any(1).all(-1)  # (B, W)
        total = letters.new_zeros(len(letters), classes)
        for row, (window, known) in enumerate(zip(windows, is_known, strict=True)):  # one by one: 4 ** k products each
            weights = self.weight.T.reshape(classes, -1, 4)  # the first letter of a k-mer counts 1
            table = torch.einsum("kva,aw->wkv", weights, window[..., 0])
            for place in range(1, self.size):
                table = torch.einsum("wkva,aw->wkv", table.unflatten(2, (-1, 4)), window[..., place])
            total[row] = (table.squeeze(2) * known.unsqueeze(1)).sum(0) / known.sum().clamp_min(1)
        return total + self.bias

    def fit_regression(
        self,
        training: tuple[Sequence[NDArray[np.uint8]], NDArray[np.int64]],
        validation: tuple[Sequence[NDArray[np.uint8]], NDArray[np.int64]],
        weights: NDArray[np.float64] | None,
        both_strands: bool,
    ) -> NDArray[np.float32]:
        """Set weight and bias by logistic regression; the validation loss chooses penalty and length of the k-mers.

        Args:
            training, validation: rows and class numbers (N,).
            weights: weights of the training sequences (N,).
            both_strands: count the k-mers of both strands.

        Returns:
            Logits (N, K) of the training sequences, each by a regression that was fitted without it: on what it was
            fitted to, a regression is surer than on anything else.
        """
        counts = [_count_strands(rows, self.size, both_strands) for rows, _ in (training, validation)]
        classes = self.weight.shape[1]
        best = np.inf
        for size in range(max(1, self.size - MAX_SHORTENING), self.size + 1):
            train_shares, validation_shares = (_shares(shorten_kmers(table, size)) for table in counts)
            scale = StandardScaler(with_mean=False).fit(train_shares)
            train_shares, validation_shares = scale.transform(train_shares), scale.transform(validation_shares)
            model = LogisticRegression(max_iter=300, warm_start=True)
            for penalty in INVERSE_PENALTIES:
                _fit(model.set_params(C=penalty), train_shares, training[1], weights)
                probabilities = model.predict_proba(validation_shares)
                loss = log_loss(validation[1], probabilities, labels=np.arange(classes))
                if loss < best:
                    best, best_penalty, best_shares = loss, penalty, train_shares
                    weight, bias = _centre(model.coef_) / scale.scale_, _centre(model.intercept_)
        first = np.arange(4**self.size) % weight.shape[1]  # the first letters of each k-mer
        self.weight.copy_(torch.from_numpy(weight.T[first]))
        self.bias.copy_(torch.from_numpy(bias))
        unseen = np.zeros((len(training[1]), classes), dtype=np.float32)
        for seen, rest in _folds(training[1]):
            own = None if weights is None else weights[seen]
            model = LogisticRegression(C=best_penalty, max_iter=300)
            _fit(model, best_shares[seen], training[1][seen], own)
            unseen[rest] = best_shares[rest] @ _centre(model.coef_).T + _centre(model.intercept_)
        return unseen


def _count_strands(rows: Sequence[NDArray[np.uint8]], size: int, both_strands: bool) -> sparse.csr_matrix:
    counts = count_kmers(rows, size)
    return counts + count_kmers([reverse_complement(row) for row in rows], size) if both_strands else counts


def _shares(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return counts (N, V) as shares of each sequence's k-mers."""
    total = np.maximum(np.asarray(counts.sum(1)), 1)
    return sparse.csr_matrix(counts.multiply(1 / total))


def _fit(
    model: LogisticRegression, shares: sparse.csr_matrix, labels: NDArray[np.int64], weights: NDArray[np.float64] | None
) -> None:
    """Fit a regression; that it has not converged is no news to the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(shares, labels, weights)


def _centre(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows for each class: of two classes a regression has one row (1, ...), for the second."""
    return np.concatenate([-values, values]) / 2 if len(values) == 1 else values


def _folds(labels: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield indices to fit and to leave out, all classes in both; nothing where a class has one sequence."""
    count = min(FOLDS, int(np.bincount(labels).min()))
    if count > 1:
        yield from StratifiedKFold(count, shuffle=True, random_state=0).split(labels, labels)
