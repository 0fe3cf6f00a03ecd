"""Experiment tracking with MLflow, which may fail without taking the work down. MLflow is imported on first use."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from titans_seq.errors import TitansSeqWarning, TrackingError, reason
from titans_seq.version import __version__

DEFAULT_FILE = "mlflow.db"
"""Database in the working directory; `mlflow ui --backend-store-uri sqlite:///mlflow.db` there shows it."""

OFF = "off"
"""The tracking URI that switches tracking off."""


class Run:
    """One tracked run. Once it has begun, a failing server costs a warning, never the work."""

    def __init__(self, client: Any, run_id: str | None) -> None:
        self._client = client
        self.run_id = run_id
        """None if nothing is tracked."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log finite numbers."""
        for name, value in values.items():
            if value == value and abs(value) != float("inf"):
                self._try("log_metric", name, float(value), step=step)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file or a folder."""
        self._try("log_artifacts" if path.is_dir() else "log_artifact", str(path), folder)

    def data(self, frame: Any, name: str) -> None:
        """Log a frame's digest, schema and size; not its content."""
        if self._client is None:
            return
        try:
            import mlflow.data
            from mlflow.entities import DatasetInput, InputTag

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                entity = mlflow.data.from_pandas(frame, name=name)._to_mlflow_entity()
            self._try("log_inputs", [DatasetInput(entity, [InputTag("mlflow.data.context", "train")])])
            self._try("set_tag", "data_digest", entity.digest)
        except Exception as error:
            self._lost(error)

    def _try(self, method: str, *args: Any, **options: Any) -> None:
        if self._client is None:
            return
        try:
            getattr(self._client, method)(self.run_id, *args, **options)
        except Exception as error:
            self._lost(error)

    def _lost(self, error: Exception) -> None:
        self._client = None
        warnings.warn(f"tracking stopped, the work goes on: {reason(error)}", TitansSeqWarning, stacklevel=3)


@contextmanager
def track(
    uri: str | None, experiment: str, name: str, parameters: Mapping[str, Any], parent: str | None = None
) -> Iterator[Run]:
    """A run around some work; it ends as FINISHED, as KILLED after Ctrl-C, or as FAILED after an error.

    Args:
        uri: MLflow tracking URI; None for `DEFAULT_FILE` here, `OFF` for nothing.
        experiment: made if it does not exist.
        parent: id of the run that this one belongs to.

    Raises:
        TrackingError: the server or database cannot be reached at the start.
    """
    if uri == OFF:
        yield Run(None, None)
        return
    uri = uri or f"sqlite:///{Path.cwd() / DEFAULT_FILE}"
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow import MlflowClient
            from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

            for noisy in ("alembic", "mlflow"):
                logging.getLogger(noisy).setLevel(logging.ERROR)
            client = MlflowClient(uri)
            found = client.get_experiment_by_name(experiment)
            experiment_id = found.experiment_id if found else client.create_experiment(experiment)
            tags = {MLFLOW_RUN_NAME: name, "titans_seq.version": __version__}
            if parent is not None:
                tags[MLFLOW_PARENT_RUN_ID] = parent
            run_id = client.create_run(experiment_id, tags=tags).info.run_id
    except Exception as error:
        raise TrackingError(f"cannot track at {uri}: {reason(error)}") from error
    run = Run(client, run_id)
    for key, value in parameters.items():
        run._try("log_param", key, value)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        run._try("set_terminated", status)
