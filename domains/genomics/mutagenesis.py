"""In-silico mutagenesis: what every single substitution does to a classifier's answer. Axes: L letters, K classes."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import BASES, decode
from titans_seq.domains.genomics.classifier import TitansDNAClassifier
from titans_seq.domains.genomics.encoder import encode_sequences, pad_rows
from titans_seq.domains.genomics.labels import class_index
from titans_seq.errors import DataError

MAX_LETTERS = 10_000
"""Letters of a sequence at the most: each costs three readings of all of it."""


def mutagenesis(model: TitansDNAClassifier, sequence: Any, label: Any = None) -> pd.DataFrame:
    """Return the change of a class's log-odds for each substitution at each position of one sequence.

    All 3 L mutants go through the network in batches.

    Args:
        sequence: str, bytes, Seq or SeqRecord.
        label: the class; None: the second of two, or the predicted one of several.

    Returns:
        L rows: `position` (from 1), `letter` (as read; N where unknown), and the change in natural log-odds for
        `A`, `C`, `G` and `T`, 0 for the letter that stands there.

    Raises:
        DataError: there is no such class, or the sequence cannot be used or has more than 10,000 letters.
    """
    (row,) = encode_sequences([sequence], model.ambiguous)
    if len(row) > MAX_LETTERS:
        raise DataError(f"the sequence has {len(row):,} letters, more than {MAX_LETTERS:,}: take a part of it")
    position, letter = np.nonzero(row[:, None] != np.arange(4))
    own = log_odds(model.predict_logits(pad_rows([row])))[0]
    index = class_index(model.classes_, label, own)
    effects = np.zeros((len(row), 4))
    step = max(1, 2**24 // len(row))
    for start in range(0, len(position), step):
        part = slice(start, start + step)
        mutants = np.repeat(row[None], len(position[part]), 0)
        mutants[np.arange(len(mutants)), position[part]] = letter[part]
        effects[position[part], letter[part]] = log_odds(model.predict_logits(mutants))[:, index] - own[index]
    frame = pd.DataFrame(effects, columns=list(BASES))
    frame.insert(0, "letter", list(decode(row)))
    frame.insert(0, "position", np.arange(1, len(row) + 1))
    return frame


def log_odds(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-odds (N, K) of each class against all others together, of logits (N, K)."""
    size = logits.shape[1]
    others = np.stack([np.logaddexp.reduce(np.delete(logits, k, 1), axis=1) for k in range(size)], 1)
    odds: NDArray[np.float64] = logits - others
    return odds
