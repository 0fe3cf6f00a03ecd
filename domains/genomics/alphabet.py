"""Letters of DNA as numbers, with a table lookup.

Codes: A 0, C 1, G 2, T 3, UNKNOWN 4 (N, and letters that stand for several bases), PAD 5 (behind the end of a shorter
sequence). Letter case carries no meaning here: in public files it often gives the class away.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from titans_seq.errors import DataError

UNKNOWN, PAD = 4, 5

Ambiguous = Literal["unknown", "error"]
"""What becomes of N and the other IUPAC codes (R, Y, S, W, K, M, B, D, H, V): one code for all, or an error."""

LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)
"""Codes 0 to 4 as letters."""

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
    """Codes of a sequence (L,); U counts as T, lower case as upper case.

    Args:
        name: what error messages call the sequence.

    Raises:
        DataError: empty; a letter that is none of DNA's; or ambiguous letters where they are not wanted.
    """
    if not letters:
        raise DataError(f"{name} is empty")
    codes: NDArray[np.uint8] = _TABLE[np.frombuffer(letters, dtype=np.uint8)]
    if codes.max() > PAD:
        place = int((codes > PAD).argmax())
        shown = bytes(letters[place : place + 1]).decode("latin-1")
        if codes[place] == _GAP:
            raise DataError(f"{name} has a gap ({shown!r}) at position {place + 1}: sequences must not be aligned")
        share = float((codes > PAD).mean())
        hint = ": this looks like a protein, not DNA" if share > 0.1 and letters.isalpha() else ""
        raise DataError(f"{name} has {shown!r} at position {place + 1}, which is no letter of DNA{hint}")
    if ambiguous == "error" and codes.max() == UNKNOWN:
        place = int((codes == UNKNOWN).argmax())
        raise DataError(f"{name} has {chr(letters[place])!r} at position {place + 1}, which names no single base")
    return codes


def reverse_complement(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The other strand of padded rows (..., L), read in its own direction; padding stays behind."""
    turned: NDArray[np.uint8] = _COMPLEMENT[codes[..., ::-1]]
    if turned.size == 0 or not (codes == PAD).any():
        return turned
    lengths = (codes != PAD).sum(-1, keepdims=True)
    size = codes.shape[-1]
    index = (np.arange(size) + size - lengths) % size
    moved: NDArray[np.uint8] = np.take_along_axis(turned, index, -1)
    return moved
