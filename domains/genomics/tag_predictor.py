"""Answers of a saved tagger of DNA: stretches of one class, and how sure they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from titans_seq.domains.genomics.records import read_sequences
from titans_seq.domains.genomics.tagger import TitansDNATagger
from titans_seq.domains.predictor import Predictor, read_column


class TagPredictor(Predictor):
    """Answer with the stretches of each class, of the sequences of a file or a table."""

    def __init__(self, folder: Path) -> None:
        self.model = TitansDNATagger.load(folder)

    def from_file(self, path: Path) -> Any:
        """Return names and sequences of FASTA, GenBank, or a table."""
        names, sequences = read_sequences(path)
        return pd.DataFrame({"name": names, "sequence": sequences})

    def from_table(self, table: pd.DataFrame) -> Any:
        """Return the column `sequence`."""
        sequences = read_column(table, "sequence")
        return pd.DataFrame({"name": [str(number) for number in range(1, len(sequences) + 1)], "sequence": sequences})

    def predict(self, question: Any) -> pd.DataFrame:
        """Return a row per stretch: name, start (from 1) and end (included), class, and its mean probability."""
        rows = []
        for name, shares in zip(question["name"], self.model.predict_proba(question["sequence"].tolist()), strict=True):
            index = shares.argmax(1)
            edges = np.concatenate([[0], np.flatnonzero(np.diff(index)) + 1, [len(index)]])
            for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
                k = int(index[start])
                mean = float(shares[start:end, k].mean())
                rows.append((name, start + 1, end, self.model.classes_[k], mean))
        return pd.DataFrame(rows, columns=["name", "start", "end", "predicted", "probability"])

    def example(self) -> pd.DataFrame:
        """Return two sequences."""
        return pd.DataFrame({"sequence": ["ACGT" * 100, "GATTACA" * 60]})
