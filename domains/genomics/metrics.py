"""Scores of a classifier. Axes: N sequences, K classes."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, average_precision_score, matthews_corrcoef, roc_auc_score
from sklearn.preprocessing import label_binarize


@dataclass(frozen=True)
class ClassificationScores:
    """Scores of probabilities; with more than two classes the areas are means of one class against the rest."""

    accuracy: float
    """Share of sequences whose most probable class is the true one."""
    auroc: float
    """Area under the ROC curve."""
    auprc: float
    """Average precision."""
    mcc: float
    """Matthews' correlation coefficient."""

    @classmethod
    def from_probabilities(
        cls, truth: NDArray[Any], probabilities: NDArray[np.floating[Any]], classes: NDArray[Any]
    ) -> Self:
        """Return the scores; where truth is of one class, areas are NaN and mcc is 0.

        Args:
            truth: classes of the sequences (N,).
            probabilities: (N, K).
            classes: names of the columns (K,).
        """
        chosen = classes[probabilities.argmax(1)]
        hits = one_hot(truth, classes)
        shown = probabilities[:, 1:] if len(classes) == 2 else probabilities
        present = [k for k in range(hits.shape[1]) if 0 < hits[:, k].sum() < len(hits)]
        auroc = [roc_auc_score(hits[:, k], shown[:, k]) for k in present]
        auprc = [average_precision_score(hits[:, k], shown[:, k]) for k in present]
        return cls(
            accuracy=float(accuracy_score(truth, chosen)),
            auroc=float(np.mean(auroc)) if present else float("nan"),
            auprc=float(np.mean(auprc)) if present else float("nan"),
            mcc=float(matthews_corrcoef(truth, chosen)) if present else 0.0,
        )


def one_hot(truth: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    """Return (N, K) of 0 and 1; for two classes (N, 1), 1 at the second."""
    hits: NDArray[np.int64] = label_binarize(truth, classes=classes)
    return hits
