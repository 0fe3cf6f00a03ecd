"""The code of a logged model: MLflow runs this file and gives it the folder of the saved model; nothing is unpickled.

`mlflow models serve -m models:/m-... --env-manager local` answers as `titans-seq predict` does: to a column `sequence`
(DNA), a column `text` (lines of one stream), or a history with the columns that the forecaster was fitted on, time
stamps as text.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from titans_seq.domains.predictor import Predictor
from titans_seq.domains.registry import load_predictor
from titans_seq.errors import TitansSeqError


class WrongInput(MlflowException):  # type: ignore[misc]
    """What cannot be answered, in one sentence that stays as it is: the server would put the whole table before it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "message" or name not in vars(self):
            super().__setattr__(name, value)


class ServedModel(PythonModel):  # type: ignore[misc]
    """A saved model of any kind behind MLflow's interface."""

    predictor: Predictor

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model that was logged."""
        self.predictor = load_predictor(Path(context.artifacts["model"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return answers as rows; wrong input is answered with one sentence and status 400."""
        try:
            return self.predictor.predict(self.predictor.from_table(model_input))
        except TitansSeqError as error:
            raise WrongInput(str(error), error_code=INVALID_PARAMETER_VALUE) from error


set_model(ServedModel())
