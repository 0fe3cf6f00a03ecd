"""Sequences of any kind as one array of codes: a stateless scikit-learn transformer.

Axes: N sequences, L letters of the longest.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from titans_seq.domains.genomics.alphabet import PAD, Ambiguous, encode
from titans_seq.errors import DataError, TitansSeqWarning


class SequenceEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn str, bytes, Biopython Seq and SeqRecord into codes (N, L) uint8, padded behind with `alphabet.PAD`.

    Nothing is learned: `fit` only checks. Upper and lower case are the same, U is T.

    Args:
        ambiguous: "unknown" maps N and the other IUPAC codes to one code, "error" refuses them.

    Examples:
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
        """Return codes (N, L).

        Raises:
            DataError: there are no sequences, an empty one, one of another kind, or letters that are not DNA's.
        """
        return pad_rows(encode_sequences(X, self.ambiguous))

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: nothing is learned."""
        return True


def encode_sequences(X: Any, ambiguous: Ambiguous = "unknown") -> list[NDArray[np.uint8]]:
    """Return the codes of each sequence, unpadded; U is read as T, with a warning.

    Args:
        X: anything `SequenceEncoder` takes, or the codes (N, L) that it gave.

    Raises:
        DataError: see `SequenceEncoder.transform`.
    """
    if ambiguous not in ("unknown", "error"):
        raise DataError(f"ambiguous must be unknown or error, not {ambiguous!r}")
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype == np.uint8:
        return strip_padding(X)
    sequences = _to_list(X)
    texts = [_to_bytes(sequence, index) for index, sequence in enumerate(sequences)]
    rows = [encode(text, _describe(sequences[i], i), ambiguous) for i, text in enumerate(texts)]
    rna = sum(b"U" in text or b"u" in text for text in texts)
    if rna:
        what = "1 sequence holds" if rna == 1 else f"{rna} sequences hold"
        warnings.warn(f"{what} U, as RNA does: it is read as T", TitansSeqWarning, stacklevel=2)
    return rows


def pad_rows(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the codes (N, L) of sequences of any lengths, padded behind with `alphabet.PAD`."""
    codes = np.full((len(rows), max(len(row) for row in rows)), PAD, dtype=np.uint8)
    for padded, row in zip(codes, rows, strict=True):
        padded[: len(row)] = row
    return codes


def strip_padding(codes: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return the rows that `pad_rows` padded.

    Raises:
        DataError: the codes are none of the alphabet's, a row is empty, or padding stands before letters.
    """
    if len(codes) == 0:
        raise DataError("there are no sequences")
    mask = codes != PAD
    lengths = mask.sum(1)
    if codes.size and codes.max() > PAD:
        raise DataError(f"codes must be 0 to {PAD}, not {codes.max()}")
    if (lengths == 0).any():
        raise DataError(f"sequence {int((lengths == 0).argmax()) + 1} is empty")
    if (mask != (np.arange(codes.shape[1]) < lengths[:, None])).any():
        raise DataError("padding must stand behind the letters of a sequence")
    return [row[:length] for row, length in zip(codes, lengths, strict=True)]


def _to_list(X: Any) -> list[Any]:
    """Return the sequences of a list, an array, or a frame of one column.

    Raises:
        DataError: there is a single sequence where several belong, none at all, or there are several columns.
    """
    if isinstance(X, (str, bytes)) or _biopython_text(X) is not None:
        raise DataError("a list of sequences is needed, one sequence came: put it into a list")
    if hasattr(X, "ndim") and X.ndim == 2:
        if X.shape[1] != 1:
            raise DataError(f"one column of sequences is needed, {X.shape[1]} came")
        X = X.iloc[:, 0] if hasattr(X, "iloc") else X[:, 0]
    sequences = list(X)
    if not sequences:
        raise DataError("there are no sequences")
    return sequences


def _to_bytes(x: Any, index: int) -> bytes:
    """Return the letters of one sequence."""
    if isinstance(x, bytes):
        return x
    text = str(x) if isinstance(x, str) else _biopython_text(x)
    if text is None:
        raise DataError(f"{_describe(x, index)} is {type(x).__name__}, not a str, Seq or SeqRecord")
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        letter = text[error.start]
        where = f"{_describe(x, index)} has {letter!r} at position {error.start + 1}"
        raise DataError(f"{where}, no letter of DNA") from None


def _biopython_text(x: Any) -> str | None:
    """Return the text of a Biopython Seq or SeqRecord, else None."""
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


def _describe(x: Any, index: int) -> str:
    """Return what error messages call a sequence: its number, and its id if it has one."""
    own = getattr(x, "id", None)
    return f"sequence {index + 1}" + (f" ({own})" if isinstance(own, str) and own != "<unknown id>" else "")
