"""Saved models by where they are: a folder, or a name in MLflow's registry; and each loaded once by a process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from titans_seq.domains.predictor import Predictor
from titans_seq.errors import DataError, ModelError, TrackingError, reason

REGISTERED = "models:/"
"""Begin of the address of a model that MLflow keeps."""


@dataclass(frozen=True)
class SavedModel:
    """A model on a disk that all processes see, and what tells it from one that takes its place."""

    folder: str
    kind: str
    """Class of its estimator."""
    stamp: str

    @classmethod
    def find(cls, folder: Path) -> "SavedModel":
        """Return the model in a folder.

        Raises:
            ModelError: there is none.
        """
        from titans_seq.saving import CONFIG, read_config

        kind = str(read_config(folder).get("kind"))
        found = (folder / CONFIG).stat()
        return cls(str(folder.resolve()), kind, f"{found.st_ino} {found.st_mtime_ns}")

    def predictor(self) -> Predictor:
        """Return its predictor, loaded at the first call.

        Raises:
            ModelError: it is damaged, or no domain knows its kind.
        """
        return _load(self)


@lru_cache(maxsize=1)
def _load(saved: SavedModel) -> Predictor:
    from titans_seq.domains.registry import load_predictor

    return load_predictor(Path(saved.folder))


@contextmanager
def local_model(model: Path, tracking_uri: str | None) -> Iterator[Path]:
    """Yield the folder of a model: its own, or a copy of one that MLflow keeps as models:/...

    Raises:
        ModelError: MLflow has no such model, or it is none of ours.
        TrackingError: the server or database cannot be reached.
    """
    address = str(model)
    if not address.startswith(REGISTERED):
        yield model
        return
    from titans_seq.pipelines.runs import ask_server

    with TemporaryDirectory() as place:

        def fetch(client: Any) -> Path:
            from mlflow.artifacts import download_artifacts
            from mlflow.exceptions import MlflowException

            uri = client.tracking_uri
            try:
                return Path(download_artifacts(address, dst_path=place, tracking_uri=uri, registry_uri=uri))
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise DataError(f"no model {address}: {reason(error)}") from error
                raise

        try:
            folder = ask_server(tracking_uri, fetch) / "artifacts" / "model"
        except DataError as error:
            raise ModelError(str(error)) from error
        if not folder.is_dir():
            raise ModelError(f"{address} is no model of this package")
        yield folder


def register_model(model_uri: str | None, name: str, run: Any) -> str:
    """Register a logged model, with an alias if the name has one as NAME@ALIAS; return its address.

    Args:
        model_uri: as `log_model` returned it.
        run: the run that logged it.

    Raises:
        TrackingError: it was not logged, or the registry refuses it.
    """
    if model_uri is None:
        raise TrackingError(f"the model was not logged, so it cannot be registered as {name}")
    given, _, alias = name.partition("@")
    try:
        version = run.register(model_uri, given, alias)
    except Exception as error:
        raise TrackingError(f"cannot register {name}: {reason(error)}") from error
    return f"{REGISTERED}{name}" if alias else f"{REGISTERED}{given}/{version}"


def check_registered_name(name: str | None, tracking_uri: str | None) -> None:
    """Raise DataError unless a model can get that name, before it is trained."""
    from titans_seq.tracking import OFF, resolve_uri

    if name is None:
        return
    given, at, alias = name.partition("@")
    plain = all(part and all(c.isalnum() or c in "-_. " for c in part) for part in ([given, alias] if at else [given]))
    if not plain or not given.strip() or len(name) > 200:
        raise DataError(f"a registered name reads NAME or NAME@ALIAS, of letters, digits, - and _, not {name!r:.80}")
    if resolve_uri(tracking_uri) == OFF:
        raise DataError("a model can only be registered where it is tracked: --tracking-uri is off")
