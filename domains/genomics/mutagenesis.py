"""In-silico mutagenesis: what every single substitution does to the answer. Axes: L letters, K classes."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import UNKNOWN
from titans_seq.domains.genomics.classifier import TitansDNAClassifier
from titans_seq.domains.genomics.encoder import encode_sequences, pad_rows
from titans_seq.errors import DataError

LETTERS = "ACGT"
MOST = 10_000
"""Letters of a sequence at the most: each costs three readings of all of it."""


def mutagenesis(model: TitansDNAClassifier, sequence: Any, label: Any = None) -> pd.DataFrame:
    """The change of a class's log-odds for each substitution at each place of one sequence.

    All 3 L mutants go through the network in batches.

    Args:
        sequence: str, bytes, Seq or SeqRecord.
        label: the class; None: the second of two, or the predicted one of several.

    Returns:
        L rows: `position` (from 1), `letter` (as read; N where unknown), and the change in natural log-odds for
        `A`, `C`, `G` and `T`, 0 for the letter that stands there.

    Raises:
        DataError: no such class, no usable sequence, or one of more than 10,000 letters.
    """
    (row,) = encode_sequences([sequence], model.ambiguous)  # type: ignore[arg-type]
    if len(row) > MOST:
        raise DataError(f"the sequence has {len(row):,} letters, more than {MOST:,}: take a part of it")
    place, letter = np.nonzero(row[:, None] != np.arange(4))
    own = log_odds(model.predict_logits(pad_rows([row])))[0]
    index = chosen_class(model, own, label)
    effects = np.zeros((len(row), 4))
    step = max(1, 2**24 // len(row))
    for start in range(0, len(place), step):
        part = slice(start, start + step)
        mutants = np.repeat(row[None], len(place[part]), 0)
        mutants[np.arange(len(mutants)), place[part]] = letter[part]
        effects[place[part], letter[part]] = log_odds(model.predict_logits(mutants))[:, index] - own[index]
    frame = pd.DataFrame(effects, columns=list(LETTERS))
    frame.insert(0, "letter", list(np.array([*LETTERS, "N"])[np.minimum(row, UNKNOWN)]))
    frame.insert(0, "position", np.arange(1, len(row) + 1))
    return frame


def log_odds(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each class against all others together, (N, K) from (N, K)."""
    size = logits.shape[1]
    others = np.stack([np.logaddexp.reduce(np.delete(logits, k, 1), axis=1) for k in range(size)], 1)
    odds: NDArray[np.float64] = logits - others
    return odds


def chosen_class(model: TitansDNAClassifier, scores: NDArray[np.float64], label: Any = None) -> int:
    """The number of a class named by its value or its text; None: the second of two, or the highest of `scores` (K,).

    Raises:
        DataError: there is none of that name.
    """
    names = [str(c) for c in model.classes_.tolist()]
    if label is None:
        return 1 if len(names) == 2 else int(scores.argmax())
    if str(label) not in names:
        raise DataError(f"there is no class {label!r}; the model has {', '.join(names)}")
    return names.index(str(label))
