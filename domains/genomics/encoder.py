"""Sequences of any kind as one array of codes: a stateless scikit-learn transformer.

Axes: N sequences, L letters of the longest.
"""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from titans_seq.domains.genomics.alphabet import PAD, Ambiguous, encode
from titans_seq.errors import DataError


class SequenceEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """str, bytes, Biopython Seq and SeqRecord to codes (N, L) uint8, padded behind with `alphabet.PAD`.

    Nothing is learned: `fit` only checks. Upper and lower case are the same, U is T.

    Args:
        ambiguous: "unknown" maps N and the other IUPAC codes to one code, "error" refuses them.

    Example:
        >>> SequenceEncoder().transform(["ACGT", "nn"])
        array([[0, 1, 2, 3],
               [4, 4, 5, 5]], dtype=uint8)
    """

    def __init__(self, ambiguous: Ambiguous = "unknown") -> None:
        self.ambiguous = ambiguous

    def fit(self, X: Iterable[Any], y: Any = None) -> Self:
        """Check the sequences; nothing is learned."""
        self.transform(X)
        return self

    def transform(self, X: Iterable[Any]) -> NDArray[np.uint8]:
        """Codes (N, L).

        Raises:
            DataError: no sequences, an empty one, one of another kind, or letters that are not DNA's.
        """
        if self.ambiguous not in ("unknown", "error"):
            raise DataError(f"ambiguous must be unknown or error, not {self.ambiguous!r}")
        rows = [encode(letters(x, index), _name(x, index), self.ambiguous) for index, x in enumerate(listed(X))]
        codes = np.full((len(rows), max(len(row) for row in rows)), PAD, dtype=np.uint8)
        for row, own in zip(codes, rows, strict=True):
            row[: len(own)] = own
        return codes

    def __sklearn_is_fitted__(self) -> bool:
        """Always ready."""
        return True


def listed(X: Any) -> list[Any]:
    """The sequences as a list, or an array's or a frame's one column.

    Raises:
        DataError: a single sequence where several belong, none at all, or several columns.
    """
    if isinstance(X, (str, bytes)) or _record(X) is not None:
        raise DataError("a list of sequences is needed, one sequence came: put it into a list")
    if hasattr(X, "ndim") and X.ndim == 2:
        if X.shape[1] != 1:
            raise DataError(f"one column of sequences is needed, {X.shape[1]} came")
        X = X.iloc[:, 0] if hasattr(X, "iloc") else X[:, 0]
    found = list(X)
    if not found:
        raise DataError("there are no sequences")
    return found


def letters(x: Any, index: int) -> bytes:
    """The letters of one sequence."""
    if isinstance(x, bytes):
        return x
    if not isinstance(x, str):
        record = _record(x)
        if record is None:
            raise DataError(f"{_name(x, index)} is {type(x).__name__}, not a str, Seq or SeqRecord")
        x = record
    try:
        return str(x).encode("ascii")
    except UnicodeEncodeError as error:
        bad = str(x)[error.start]
        raise DataError(f"{_name(x, index)} has {bad!r} at position {error.start + 1}, no letter of DNA") from None


def _record(x: Any) -> str | None:
    """The text of a Biopython Seq or SeqRecord, else None."""
    from Bio.Seq import MutableSeq, Seq, UndefinedSequenceError
    from Bio.SeqRecord import SeqRecord

    if isinstance(x, SeqRecord):
        x = x.seq
    if not isinstance(x, (Seq, MutableSeq)):
        return None
    try:
        return str(x)
    except UndefinedSequenceError:
        raise DataError("a Seq has a length but no letters") from None


def _name(x: Any, index: int) -> str:
    own = getattr(x, "id", None)
    return f"sequence {index + 1}" + (f" ({own})" if isinstance(own, str) and own != "<unknown id>" else "")
