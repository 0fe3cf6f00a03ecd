"""Experiment tracking with MLflow, which may fail without taking the work down. MLflow is imported on first use."""

import logging
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from titans_seq.errors import TitansSeqWarning, TrackingError, reason, without_secrets
from titans_seq.version import __version__
from titans_seq.wheel import WHEEL, pinned_requirements, write_wheel

DEFAULT_FILE = "mlflow.db"
"""Database in the working directory; `mlflow ui --backend-store-uri sqlite:///mlflow.db` there shows it."""

OFF = "off"
"""The tracking URI that switches tracking off."""

WHEELS = "wheels"
"""Folder of a logged model that holds this package."""

VERSION = "titans_seq.version"
"""Tag of every run."""


class Run:
    """One tracked run. Once it has begun, a failing server costs a warning, never the work."""

    def __init__(self, client: Any, run_id: str | None, uri: str = OFF) -> None:
        self._client = client
        self.uri = uri
        """Where it is tracked."""
        self.run_id = run_id
        """None if nothing is tracked."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log finite numbers."""
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        if self._client is None or not finite:
            return
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._try("log_batch", metrics=[Metric(name, value, now, step) for name, value in finite.items()])

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Log what was chosen, once."""
        if self._client is None or not values:
            return
        from mlflow.entities import Param

        self._try("log_batch", params=[Param(name, str(value)) for name, value in values.items()])

    def end(self, run_id: str, status: str) -> None:
        """End another run, whose process could not."""
        if self._client is not None:
            try:
                self._client.set_terminated(run_id, status)
            except Exception as error:
                self._lost(error)

    def tag(self, name: str, value: str) -> None:
        """Log a word that is neither a parameter nor a number."""
        self._try("set_tag", name, value)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file or a folder."""
        self._try("log_artifacts" if path.is_dir() else "log_artifact", str(path), folder)

    def model(self, folder: Path, code: Path, example: Callable[[], tuple[Any, Any]]) -> str | None:
        """Log a saved model with the code that serves it; nothing is pickled.

        Args:
            folder: what the code is given as `context.artifacts["model"]`.
            code: a file that ends in `mlflow.models.set_model`.
            example: a table to ask and what is answered, for the signature.

        Returns:
            Its URI, models:/m-...; None if it was not logged.
        """
        if self._client is None:
            return None
        try:
            from mlflow.entities import LoggedModelOutput

            run = self._client.get_run(self.run_id)
            entity = self._client.create_logged_model(
                run.info.experiment_id, "model", self.run_id, params=run.data.params
            )
            with tempfile.TemporaryDirectory() as place:
                problem = _pack(Path(place) / "model", entity, folder, code, example)
                if problem is None:
                    self._client.log_model_artifacts(entity.model_id, f"{place}/model")
            self._client.finalize_logged_model(entity.model_id, "FAILED" if problem else "READY")
            self._client.log_outputs(self.run_id, [LoggedModelOutput(entity.model_id, step=0)])
        except Exception as error:
            self._lost(error)
            return None
        if problem is not None:
            warnings.warn(f"the model was not logged: {reason(problem)}", TitansSeqWarning, stacklevel=2)
            return None
        return f"models:/{entity.model_id}"

    def register(self, model_uri: str, name: str, alias: str) -> str:
        """Register a logged model under a name, as its newest version, and return that; any error is MLflow's own."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = self._client.create_model_version(name, model_uri, self.run_id)
        if alias:
            self._client.set_registered_model_alias(name, alias, found.version)
        return str(found.version)

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


def _pack(
    place: Path, entity: Any, folder: Path, code: Path, example: Callable[[], tuple[Any, Any]]
) -> Exception | None:
    """Write a model as MLflow keeps it, without a server; returns what went wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow.models import Model, infer_signature
            from mlflow.pyfunc import save_model

            asked, answered = example()
            save_model(
                str(place),
                python_model=str(code),
                artifacts={"model": str(folder)},
                signature=infer_signature(asked, answered),
                input_example=asked,
                pip_requirements=[f"{WHEELS}/{WHEEL}", *pinned_requirements()],
                mlflow_model=Model(
                    artifact_path=entity.artifact_location,
                    model_uuid=entity.model_id,
                    run_id=entity.source_run_id,
                    model_id=entity.model_id,
                ),
            )
            (place / WHEELS).mkdir()
            write_wheel(place / WHEELS)
    except Exception as error:
        return error
    return None


def resolve_uri(uri: str | None) -> str:
    """Return a tracking URI; where none is given that of MLFLOW_TRACKING_URI, or else of `DEFAULT_FILE` here."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / DEFAULT_FILE}"


def connect(uri: str) -> Any:
    """Return an MLflow client that says nothing and soon gives up on a server that does not answer."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient

    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return MlflowClient(uri)


def _resume(client: Any, run_id: str) -> bool:
    """Begin a run again, if it is there."""
    from mlflow.exceptions import MlflowException

    try:
        client.update_run(run_id, "RUNNING")
    except MlflowException:
        return False
    return True


@contextmanager
def track(
    uri: str | None,
    experiment: str,
    name: str,
    parameters: Mapping[str, Any],
    parent: str | None = None,
    again: str | None = None,
) -> Iterator[Run]:
    """Track some work as a run; it ends as FINISHED, as KILLED after Ctrl-C, or as FAILED after an error.

    Args:
        uri: MLflow tracking URI; None for MLFLOW_TRACKING_URI or else `DEFAULT_FILE` here, `OFF` for nothing.
        experiment: made if it does not exist.
        parent: id of the run that this one belongs to.
        again: id of an earlier run that goes on, with the parameters it began with; a new one if it is not there.

    Raises:
        TrackingError: the server or database cannot be reached at the start.
    """
    uri = resolve_uri(uri)
    if uri == OFF:
        yield Run(None, None)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = connect(uri)
            from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

            found = client.get_experiment_by_name(experiment)
            experiment_id = found.experiment_id if found else client.create_experiment(experiment)
            tags = {MLFLOW_RUN_NAME: name, VERSION: __version__}
            if parent is not None:
                tags[MLFLOW_PARENT_RUN_ID] = parent
            again = again if again is not None and _resume(client, again) else None
            run_id = again or client.create_run(experiment_id, tags=tags).info.run_id
    except Exception as error:
        raise TrackingError(f"cannot track at {without_secrets(uri)}: {reason(error)}") from error
    run = Run(client, run_id, uri)
    if not again:
        run.parameters(parameters)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        run._try("set_terminated", status)
