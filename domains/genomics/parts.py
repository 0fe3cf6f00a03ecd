"""Labelled sequences as what trains and what validates, and weights of their classes. Axes: N sequences, K classes."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from titans_seq.domains.genomics.alphabet import Rows
from titans_seq.domains.genomics.fitting import Examples
from titans_seq.domains.genomics.labels import check_labels
from titans_seq.errors import DataError, reason


def split_examples(
    rows: Rows, numbers: NDArray[np.int64], classes: NDArray[Any], fraction: float, seed: int
) -> tuple[Examples, Examples]:
    """Return the sequences that train, and a share of each class that validates.

    Args:
        numbers: numbers of the classes (N,).
        classes: (K,).

    Raises:
        DataError: a class has one sequence only.
    """
    counts = np.bincount(numbers)
    if counts.min() < 2:
        label = classes.tolist()[int(counts.argmin())]
        raise DataError(f"class {label!r} has one sequence only: at least 2 are needed, one of them to validate")
    size = min(max(round(fraction * len(rows)), len(classes)), len(rows) - len(classes))
    split = StratifiedShuffleSplit(1, test_size=size, random_state=seed % 2**32)
    first, second = next(split.split(numbers, numbers))
    return Examples([rows[i] for i in first], numbers[first]), Examples([rows[i] for i in second], numbers[second])


def known_examples(rows: Rows, y: Any, classes: NDArray[Any]) -> Examples:
    """Return sequences whose classes are among those that train (K,).

    Raises:
        DataError: one is not, or the labels cannot be used.
    """
    labels = check_labels(y, len(rows))
    unknown = sorted(set(labels.tolist()) - set(classes.tolist()), key=str)
    if unknown:
        raise DataError(f"the validation data has classes that the training data has not: {unknown}")
    return Examples(rows, np.searchsorted(classes, labels).astype(np.int64))


def class_weights(class_weight: Any, classes: NDArray[Any], numbers: NDArray[np.int64]) -> Tensor | None:
    """Return the weights of the classes (K,), as scikit-learn understands `class_weight`; None: all the same.

    Raises:
        DataError: it is not understood.
    """
    if class_weight is None:
        return None
    try:
        weights = compute_class_weight(class_weight, classes=classes, y=classes[numbers])
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"class_weight: {reason(error)}") from error
    return torch.tensor(weights, dtype=torch.float32)
