"""What a saved language model answers: the bits per byte of each line of a text."""

from pathlib import Path
from typing import Any

import pandas as pd

from titans_seq.domains.language.language_model import TitansLM
from titans_seq.domains.language.vocabulary import Symbols
from titans_seq.domains.predictor import Predictor, read_column
from titans_seq.errors import DataError


class LineScorer(Predictor):
    """Each line of a text with its bits per byte, line break included, given all lines before it."""

    def __init__(self, folder: Path) -> None:
        self.model = TitansLM.load(folder)

    def from_file(self, path: Path) -> Any:
        """Return the path: the text is never in memory as a whole."""
        return path

    def from_table(self, table: pd.DataFrame) -> Any:
        """Return the lines of the column `text`."""
        lines = read_column(table, "text")
        for row, line in enumerate(lines):
            if not isinstance(line, str) or "\n" in line:
                raise DataError(f"row {row + 1} must be one line of text, not {line!r:.60}")
        return [f"{line}\n" for line in lines]

    def predict(self, question: Any) -> pd.DataFrame:
        """Return a row per line: its number, bytes, bits per byte and text."""
        return pd.DataFrame(self.model.score_lines(question))

    def example(self) -> pd.DataFrame:
        """Return two lines, or one of all symbols that the model knows."""
        known = self.model.vocabulary_
        lines = ["To be, or not to be,", "that is the question."]
        if isinstance(known, Symbols):
            lines = [known.symbols.replace("\n", "")]
        return pd.DataFrame({"text": lines})
