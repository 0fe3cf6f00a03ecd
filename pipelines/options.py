"""Options that many commands have, each with one name, one default and one sentence."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class JsonOption:
    """How results are printed."""

    json: bool = False
    """Print the results as JSON on standard output instead of text."""


@dataclass(frozen=True, kw_only=True)
class ResultOptions(JsonOption):
    """What happens to files that are there already."""

    force: bool = False
    """Overwrite earlier results."""


@dataclass(frozen=True, kw_only=True)
class TrackingOption:
    """Where runs are tracked."""

    tracking_uri: str | None = None
    """MLflow server or database; the variable MLFLOW_TRACKING_URI, or mlflow.db here, if not given; `off` for none."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where independent pieces of work are done."""

    engine: str | None = None
    """dask, for workers whose death is survived, or the tcp://HOST:PORT of a Dask scheduler; none means this machine
    without Dask. The results are the same."""
    jobs: int | None = None
    """Processes of this machine; none means this one, or two of dask."""
