"""What a saved model answers: to a file (`titans-seq predict`) and to a table (a served model)."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
