"""Simple methods to compare with: composition alone, counts of k-mers, and a small convolutional network.

Axes: N sequences, B sequences of a batch, L letters, F features, K classes.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from titans_seq.domains.genomics.alphabet import PAD, UNKNOWN
from titans_seq.domains.genomics.encoder import encode_sequences
from titans_seq.domains.genomics.kmer_logits import INVERSE_PENALTIES
from titans_seq.domains.genomics.kmers import count_kmers
from titans_seq.domains.genomics.mixers import convolve_same

KMER_SIZES = (4, 5, 6)
"""Letters of the k-mers that a regression chooses from."""


class Composition(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn sequences into shares of the letters, their squares, and the length, which need no sequence model."""

    def fit(self, X: Any, y: Any = None) -> "Composition":
        """Return the transformer as it is: nothing is learned."""
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return features (N, F), F = 11."""
        rows = encode_sequences(X)
        counts = np.array([np.bincount(row, minlength=UNKNOWN + 1)[: UNKNOWN + 1] for row in rows], dtype=float)
        lengths = counts.sum(1, keepdims=True)
        shares = counts / lengths
        strong = shares[:, 1:2] + shares[:, 2:3]
        return np.hstack([shares, shares[:, :4] ** 2, strong**2, np.log(lengths)])

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: nothing is learned."""
        return True


class KmerCounts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn sequences into counts of each k-mer; k-mers with an unknown letter do not count."""

    def __init__(self, size: int = 5) -> None:
        self.size = size

    def fit(self, X: Any, y: Any = None) -> "KmerCounts":
        """Return the transformer as it is: nothing is learned."""
        return self

    def transform(self, X: Any) -> sparse.csr_matrix:
        """Return counts (N, 4 ** size), sparse."""
        return count_kmers(encode_sequences(X), self.size)

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: nothing is learned."""
        return True


def composition_floor() -> Pipeline:
    """Return logistic regression on composition and length."""
    return make_pipeline(Composition(), StandardScaler(), LogisticRegression(max_iter=1000))


def kmer_regression(is_validation: NDArray[np.bool_]) -> GridSearchCV:
    """Return logistic regression on standardised k-mer counts, as strong as k-mers are.

    Args:
        is_validation: (N,) True at the sequences that choose length and penalty; all train in the end.
    """
    steps = Pipeline(
        [
            ("kmers", KmerCounts()),
            ("scale", StandardScaler(with_mean=False)),
            ("regression", LogisticRegression(max_iter=300)),
        ]
    )
    grid = {"kmers__size": list(KMER_SIZES), "regression__C": list(INVERSE_PENALTIES)}
    split = PredefinedSplit(np.where(is_validation, 0, -1))
    return GridSearchCV(steps, grid, scoring="neg_log_loss", cv=split, error_score="raise")


class SmallCNN(nn.Module):
    """The convolutional baseline of Genomic Benchmarks (doi 10.1186/s12863-023-01123-8): three of them, two dense.

    Letters are embedded; each convolution is followed by ReLU, batch normalisation and a maximum over 2 places. The
    flattened features of a fixed length go to 512 units.

    Args:
        length: letters of the longest sequence there is.
        classes: classes K.
    """

    def __init__(self, length: int, classes: int) -> None:
        super().__init__()
        self.length = max(8, length)
        self.embed = nn.Embedding(PAD + 1, 100, padding_idx=PAD)
        widths = (100, 16, 8, 4)
        self.convolutions = nn.ModuleList(nn.Conv1d(i, o, 8) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(o) for o in widths[1:])
        self.dense = nn.Linear(4 * (self.length // 8), 512)
        self.head = nn.Linear(512, classes)

    def forward(self, codes: Tensor) -> Tensor:
        """Return logits (B, K) of codes (B, L); L is at most the length of the network."""
        if codes.shape[1] > self.length:
            raise ValueError(f"the network is for at most {self.length} letters, not {codes.shape[1]}")
        x = self.embed(F.pad(codes.long(), (0, self.length - codes.shape[1]), value=PAD)).mT
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            assert isinstance(convolution, nn.Conv1d)
            x = F.max_pool1d(norm(F.relu(convolve_same(convolution, x))), 2)
        out: Tensor = self.head(F.relu(self.dense(x.flatten(1))))
        return out
