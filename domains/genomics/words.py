"""Counts of short words (k-mers), and the linear model on them that a network starts from.

Axes: N sequences, B sequences of a batch, L letters, W places of a word, V words, K classes.
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
"""By how many letters words may be shorter than was asked for: fewer words need less data."""

FOLDS = 5
"""Regressions that each leave out a part of the training sequences."""


class Words(nn.Module):
    """Logits that are linear in the shares of all words of k letters, or of their first letters.

    Zero until `start` has set them, then fixed.
    """

    slope: Tensor
    level: Tensor

    def __init__(self, letters: int, classes: int) -> None:
        super().__init__()
        self.letters = letters
        self.register_buffer("slope", torch.zeros(4**letters, classes))
        self.register_buffer("level", torch.zeros(classes))

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, L) int64 to (B, K)."""
        short = max(0, self.letters - codes.shape[1])
        word = F.pad(codes, (0, short), value=PAD).unfold(1, self.letters, 1)  # (B, W, k)
        whole = (word < UNKNOWN).all(-1)
        index = (word * 4 ** torch.arange(self.letters, device=codes.device)).sum(-1).masked_fill(~whole, 0)
        share = whole / whole.sum(1, keepdim=True).clamp_min(1)
        return F.embedding_bag(index, self.slope, mode="sum", per_sample_weights=share.to(self.slope)) + self.level

    def start(
        self,
        training: tuple[Sequence[NDArray[np.uint8]], NDArray[np.int64]],
        validation: tuple[Sequence[NDArray[np.uint8]], NDArray[np.int64]],
        weights: NDArray[np.float64] | None,
        both: bool,
    ) -> NDArray[np.float32]:
        """Set them to a logistic regression; the validation loss chooses its penalty, and shorter words where they win.

        Args:
            training, validation: rows and class numbers (N,).
            weights: of the training sequences (N,).
            both: count the words of both strands.

        Returns:
            Logits (N, K) of the training sequences, each by a regression that was fitted without it: on what it was
            fitted to, a regression is surer than on anything else.
        """
        counted = [self._counts(part[0], both) for part in (training, validation)]
        classes = self.slope.shape[1]
        best = np.inf
        for letters in range(max(1, self.letters - SHORTER), self.letters + 1):
            known, other = (_shares(counts, letters) for counts in counted)
            scale = StandardScaler(with_mean=False).fit(known)
            known, other = scale.transform(known), scale.transform(other)
            model = LogisticRegression(max_iter=300, warm_start=True)
            for strength in STRENGTHS:
                loss = log_loss(
                    validation[1],
                    _fitted(model.set_params(C=strength), known, training[1], weights).predict_proba(other),
                    labels=np.arange(classes),
                )
                if loss < best:
                    best, chosen, shares = loss, strength, known
                    slope, level = _centred(model.coef_) / scale.scale_, _centred(model.intercept_)
        shorter = np.arange(4**self.letters) % slope.shape[1]  # the first letters of each word
        self.slope.copy_(torch.from_numpy(slope.T[shorter]))
        self.level.copy_(torch.from_numpy(level))
        unseen = np.zeros((len(training[1]), classes), dtype=np.float32)
        for seen, rest in _folds(training[1]):
            own = None if weights is None else weights[seen]
            model = _fitted(LogisticRegression(C=chosen, max_iter=300), shares[seen], training[1][seen], own)
            unseen[rest] = shares[rest] @ _centred(model.coef_).T + _centred(model.intercept_)
        return unseen

    def _counts(self, rows: Sequence[NDArray[np.uint8]], both: bool) -> sparse.csr_matrix:
        counts = count_words(rows, self.letters)
        return counts + count_words([reverse_complement(row) for row in rows], self.letters) if both else counts


def _shares(counts: sparse.csr_matrix, letters: int) -> sparse.csr_matrix:
    """Shares (N, 4 ** letters) of the first letters of words that were counted (N, V)."""
    words = counts.shape[1]
    first = sparse.csr_matrix((np.ones(words), (np.arange(words), np.arange(words) % 4**letters)))
    total = np.maximum(np.asarray(counts.sum(1)), 1)
    return sparse.csr_matrix((counts @ first).multiply(1 / total))


def _fitted(
    model: LogisticRegression, shares: sparse.csr_matrix, labels: NDArray[np.int64], weights: NDArray[np.float64] | None
) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(shares, labels, weights)


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of two classes a regression knows the second one's logit alone: (1, ...) to (2, ...)."""
    return np.concatenate([-values, values]) / 2 if len(values) == 1 else values


def _folds(labels: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """What is seen and what is not, all classes on both sides; nothing where a class has one sequence."""
    count = min(FOLDS, int(np.bincount(labels).min()))
    if count > 1:
        yield from StratifiedKFold(count, shuffle=True, random_state=0).split(labels, labels)


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
