"""`titans-seq runs list`: tracked runs as MLflow's server or database holds them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from titans_seq.errors import DataError, TrackingError, reason
from titans_seq.tracking import connected, located

T = TypeVar("T")

PAGE = 1000
"""Runs that are fetched at a time."""


@dataclass(frozen=True, kw_only=True)
class ListRuns:
    """The experiments there are, and how many runs each has."""

    tracking_uri: str | None = None
    """MLflow server or database; the variable MLFLOW_TRACKING_URI, or mlflow.db here, if not given."""
    json: bool = False
    """Print JSON on standard output instead of a table."""

    def run(self) -> list[dict[str, Any]]:
        """Do it; returns a row per experiment."""
        rows = read(self.tracking_uri, _counted)
        if not self.json:
            from titans_seq.pipelines.output import plain_table

            cells = {r["experiment"]: {"runs": str(r["runs"]), "newest": r["newest"] or ""} for r in rows}
            plain_table("experiments", cells)
        return rows


def found_runs(uri: str | None, experiment: str | None, parent: str | None, last: int | None) -> list[Any]:
    """Runs of an experiment, or children of a run, the newest first, as MLflow gives them.

    A run that others belong to is left out: it sums them up.

    Raises:
        DataError: there is no such experiment or run, or it has no runs.
        TrackingError: the server or database cannot be reached.
    """
    found = read(uri, lambda client: _searched(client, experiment, parent))[:last]
    if not found:
        raise DataError(f"run {parent!r} has no children" if parent else f"experiment {experiment!r} has no runs")
    return found


def read(uri: str | None, ask: Callable[[Any], T]) -> T:
    """What a client of the server or database is told; TrackingError if it cannot be reached."""
    uri = located(uri)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise TrackingError(f"cannot read runs at {uri}: there is no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ask(connected(uri))
    except DataError:
        raise
    except Exception as error:
        raise TrackingError(f"cannot read runs at {uri}: {reason(error)}") from error


def _searched(client: Any, experiment: str | None, parent: str | None) -> list[Any]:
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID as PARENT

    names = {e.name: e.experiment_id for e in client.search_experiments()}
    known = f"there are {', '.join(sorted(names))}"
    if experiment is not None and experiment not in names:
        raise DataError(f"no experiment {experiment!r}; {known}")
    if parent is not None:
        place = _experiment_of(client, parent)
        if experiment is not None and place != names[experiment]:
            raise DataError(f"run {parent!r} is not of experiment {experiment!r}")
        found = _pages(client, place, f"tags.`{PARENT}` = '{parent}'")
    elif experiment is not None:
        found = _pages(client, names[experiment])
    else:
        raise DataError(f"name an experiment, or the parent of the runs; {known}")
    parents = {run.data.tags.get(PARENT) for run in found}
    return [run for run in found if run.info.run_id not in parents]


def _experiment_of(client: Any, run: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_run(run).info.experiment_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise DataError(f"no run {run!r}") from error


def _pages(client: Any, experiment: str, chosen: str = "") -> list[Any]:
    """All runs of an experiment, the newest first."""
    found, token = list[Any](), None
    while token != "":
        page = client.search_runs(
            [experiment], chosen, max_results=PAGE, order_by=["start_time DESC"], page_token=token
        )
        found, token = found + list(page), page.token or ""
    return found


def _counted(client: Any) -> list[dict[str, Any]]:
    rows = []
    for experiment in sorted(client.search_experiments(), key=lambda e: str(e.name)):
        found = _pages(client, experiment.experiment_id)
        newest = datetime.fromtimestamp(found[0].info.start_time / 1000, UTC) if found else None
        rows.append({
            "experiment": experiment.name,
            "runs": len(found),
            "newest": newest and newest.isoformat(sep=" ", timespec="seconds"),
        })  # fmt: skip
    return rows
