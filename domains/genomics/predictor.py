"""Answers of a saved classifier of DNA: class and probabilities of each sequence."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import BASES
from titans_seq.domains.genomics.classifier import TitansDNAClassifier
from titans_seq.domains.genomics.records import read_sequences
from titans_seq.domains.predictor import Predictor, read_column
from titans_seq.errors import DataError

KNOWN = f"{BASES}U" + f"{BASES}U".lower()
"""Letters that say something."""


class ClassPredictor(Predictor):
    """Answer with class and probabilities of each sequence of a file or a table."""

    def __init__(self, folder: Path) -> None:
        self.model = TitansDNAClassifier.load(folder)

    def from_file(self, path: Path) -> Any:
        """Return names and sequences of FASTA, GenBank, or a table."""
        names, sequences = read_sequences(path)
        return pd.DataFrame({"name": names, "sequence": sequences})

    def from_table(self, table: pd.DataFrame) -> Any:
        """Return the column `sequence`."""
        return pd.DataFrame({"sequence": read_column(table, "sequence")})

    def predict(self, question: Any) -> pd.DataFrame:
        """Return a row per sequence: its name if it has one, the predicted class, and each class's probability."""
        for row, letters in enumerate(question["sequence"]):
            if isinstance(letters, str) and letters and not any(base in letters for base in KNOWN):
                name = question["name"].iloc[row] if "name" in question else row + 1
                raise DataError(f"sequence {name} says nothing: none of its letters is A, C, G or T")
        probabilities = self.model.predict_proba(question["sequence"].tolist())
        names: pd.DataFrame = question.drop(columns="sequence").reset_index(drop=True)
        return names.join(prediction_columns(self.model.classes_, probabilities))

    def example(self) -> pd.DataFrame:
        """Return two sequences of the median length of the training data."""
        _, median, _ = self.model.lengths_
        return pd.DataFrame({"sequence": [(letters * median)[:median] for letters in ("ACGT", "GATTACA")]})


def prediction_columns(classes: NDArray[Any], probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """Return the most probable class as `predicted`, and the probability of each as `p_CLASS`; N rows.

    Args:
        classes: (K,).
        probabilities: (N, K).
    """
    columns = {f"p_{label}": probabilities[:, k] for k, label in enumerate(classes.tolist())}
    return pd.DataFrame({"predicted": classes[probabilities.argmax(1)], **columns})
