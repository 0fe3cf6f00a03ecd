"""Classes as users give them: checked, and as plain values in a saved model."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from titans_seq.errors import DataError, reason
from titans_seq.stored import Stored

KINDS = {"b": "bool", "i": "int", "u": "int", "f": "float", "U": "str"}
"""NumPy's kind of dtype -> what the classes are in a saved model."""


class StoredClasses(Stored):
    """Classes in a saved model."""

    kind: Literal["bool", "int", "float", "str"]
    values: list[bool | int | float | str]


def check_labels(y: Any, count: int) -> NDArray[Any]:
    """Return the classes of `count` sequences as an array (N,) of one kind: bool, int, float (whole numbers) or str.

    Raises:
        DataError: another number of them, several columns, missing, of mixed types, or a continuous quantity.
    """
    if y is None:
        raise DataError("requires y to be passed, but the target y is None")
    if isinstance(y, list | tuple):  # NumPy would make one kind of several
        y = np.array(y, dtype=object) if not any(isinstance(v, list | tuple | np.ndarray) for v in y) else y
    try:
        labels: NDArray[Any] = column_or_1d(y, warn=True)
    except ValueError as error:
        raise DataError(f"the labels cannot be used: {reason(error)}") from error
    if len(labels) != count:
        raise DataError(f"there are {count} sequences but {len(labels)} labels")
    if labels.dtype.kind not in KINDS:
        labels = _plain(labels)
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise DataError("the labels hold NaN or infinite values")
    try:
        check_classification_targets(labels)
    except ValueError as error:
        raise DataError(f"the labels are no classes: {reason(error)}") from error
    return labels


def _plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Return an array of Python objects as one of a plain kind."""
    values = [label.item() if isinstance(label, np.generic) else label for label in labels.tolist()]
    kinds = {type(value) for value in values}
    if kinds <= {str} or kinds <= {int} or kinds <= {bool} or kinds <= {float}:
        return np.array(values)
    names = sorted(kind.__name__ for kind in kinds)
    raise DataError(f"labels must be of one kind, all text or all whole numbers; they are {', '.join(names)}")


def classes_to_dict(classes: NDArray[Any]) -> dict[str, Any]:
    """Return classes (K,) as plain values."""
    return {"kind": KINDS[classes.dtype.kind], "values": classes.tolist()}


def classes_from_stored(stored: StoredClasses) -> NDArray[Any]:
    """Return the classes (K,) that `classes_to_dict` described; raise ValueError if it is not that."""
    kind, values = stored.kind, stored.values
    known = {"bool": bool, "int": int, "float": float, "str": str}
    if len(values) < 2 or any(type(v) is not known[kind] for v in values):
        raise ValueError(f"its classes are not at least 2 values of kind {kind}")
    classes = np.array(values)
    if len(set(values)) != len(values) or (np.sort(classes) != classes).any():
        raise ValueError("its classes are not in order, or not distinct")
    return classes


def required_class(classes: NDArray[Any], label: Any) -> int:
    """Return the number of the class that was named, among classes (K,); nothing is guessed.

    Raises:
        DataError: none was named, or there is no such class.
    """
    if label is None:
        raise DataError(f"--label must name the class to look for, one of: {', '.join(map(str, classes.tolist()))}")
    return class_index(classes, label)


def class_index(classes: NDArray[Any], label: Any, logits: NDArray[np.float64] | None = None) -> int:
    """Return the number of a class, named by its value or its text.

    Args:
        classes: (K,).
        label: the class; None: the second of two, or the one of the highest logit of several.
        logits: (K,).

    Raises:
        DataError: there is no such class.
    """
    names = [str(c) for c in classes.tolist()]
    if label is None:
        return 1 if logits is None or len(names) == 2 else int(logits.argmax())
    if str(label) not in names:
        raise DataError(f"there is no class {label!r}; the model has {', '.join(names)}")
    return names.index(str(label))
