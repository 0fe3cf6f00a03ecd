"""What a saved model answers: to a file (`titans-seq predict`) and to a table (a served model)."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class Predictor(ABC):
    """A saved model that answers questions: `predict(from_file(path))` or `predict(from_table(table))`.

    Args:
        folder: folder of the saved model.

    Raises:
        ModelError: there is no such model, or it is damaged.
    """

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """Load the model."""

    @abstractmethod
    def from_file(self, path: Path) -> Any:
        """Return the question that a file asks; raise DataError if it asks none."""

    @abstractmethod
    def from_table(self, table: "pd.DataFrame") -> Any:
        """Return the question that a table with the columns of `example` asks; raise DataError if it asks none."""

    @abstractmethod
    def predict(self, question: Any) -> "pd.DataFrame":
        """Return the answers as rows; raise DataError if the model cannot answer."""

    @abstractmethod
    def example(self) -> "pd.DataFrame":
        """Return a small table to ask with, its columns text and float64."""


def read_column(table: "pd.DataFrame", name: str) -> list[Any]:
    """Return the values of a column; raise DataError, with the columns that there are, if it is missing."""
    if name not in table.columns:
        raise DataError(f"the table has no column {name!r}; it has {', '.join(map(str, table.columns[:20])) or 'none'}")
    values: list[Any] = table[name].tolist()
    return values
