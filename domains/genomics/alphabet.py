"""Letters of DNA as numbers, with a table lookup. Axes: L letters of a sequence.

Codes: A 0, C 1, G 2, T 3, UNKNOWN 4 (N, and letters that stand for several bases), PAD 5 (behind the end of a shorter
sequence). Letter case carries no meaning here: in public files it often gives the class away.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import DataError

UNKNOWN, PAD = 4, 5

Rows = Sequence[NDArray[np.uint8]]
"""Codes of several sequences, each (L,), unpadded."""

Ambiguous = Literal["unknown", "error"]
"""What becomes of N and the other IUPAC codes (R, Y, S, W, K, M, B, D, H, V): one code for all, or an error."""

LETTERS = "ACGTN"
"""Codes 0 to 4 as letters."""
BASES = LETTERS[:UNKNOWN]
"""The letters that name a single base."""

_LETTER_BYTES = np.frombuffer(LETTERS.encode(), dtype=np.uint8)
_OTHER, _GAP = 255, 254
_COMPLEMENT = np.array([3, 2, 1, 0, UNKNOWN, PAD], dtype=np.uint8)


def _table() -> NDArray[np.uint8]:
    table = np.full(256, _OTHER, dtype=np.uint8)
    for code, letters in enumerate(("A", "C", "G", "TU", "NRYSWKMBDHV")):
        for letter in letters + letters.lower():
            table[ord(letter)] = code
    table[ord("-")] = table[ord(".")] = _GAP
    return table


_TABLE = _table()


def encode(letters: bytes, name: str, ambiguous: Ambiguous = "unknown") -> NDArray[np.uint8]:
    """Return the codes (L,) of a sequence; U counts as T, lower case as upper case.

    Args:
        name: what error messages call the sequence.

    Raises:
        DataError: the sequence is empty, has a letter that is none of DNA's, or one that is ambiguous where those are
            errors.
    """
    if not letters:
        raise DataError(f"{name} is empty")
    codes: NDArray[np.uint8] = _TABLE[np.frombuffer(letters, dtype=np.uint8)]
    if codes.max() > PAD:
        index = int((codes > PAD).argmax())
        letter = bytes(letters[index : index + 1]).decode("latin-1")
        if codes[index] == _GAP:
            raise DataError(f"{name} has a gap ({letter!r}) at position {index + 1}: sequences must not be aligned")
        share = float((codes > PAD).mean())
        hint = ": this looks like a protein, not DNA" if share > 0.1 and letters.isalpha() else ""
        raise DataError(f"{name} has {letter!r} at position {index + 1}, which is no letter of DNA{hint}")
    if ambiguous == "error" and codes.max() == UNKNOWN:
        index = int((codes == UNKNOWN).argmax())
        raise DataError(f"{name} has {chr(letters[index])!r} at position {index + 1}, which names no single base")
    return codes


def decode(codes: NDArray[np.uint8]) -> str:
    """Return the letters of unpadded codes (L,), in upper case."""
    return _LETTER_BYTES[codes].tobytes().decode()


def reverse_complement(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the other strand of padded rows (..., L), read in its own direction; padding stays behind."""
    complement: NDArray[np.uint8] = _COMPLEMENT[codes[..., ::-1]]
    if complement.size == 0 or not (codes == PAD).any():
        return complement
    lengths = (codes != PAD).sum(-1, keepdims=True)
    size = codes.shape[-1]
    index = (np.arange(size) + size - lengths) % size
    shifted: NDArray[np.uint8] = np.take_along_axis(complement, index, -1)
    return shifted
