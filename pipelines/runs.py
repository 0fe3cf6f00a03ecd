"""`titans-seq runs list`: tracked runs as MLflow's server or database holds them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from titans_seq.errors import DataError, TrackingError, reason
from titans_seq.pipelines.options import JsonOption, TrackingOption
from titans_seq.tracking import connect, resolve_uri

T = TypeVar("T")

PAGE = 1000
"""Runs that are fetched at a time."""


@dataclass(frozen=True, kw_only=True)
class ListRuns(JsonOption, TrackingOption):
    """List the experiments, and how many runs each has."""

    def run(self) -> list[dict[str, Any]]:
        """Count; return a row per experiment."""
        rows = ask_server(self.tracking_uri, _count_runs)
        if not self.json:
            from titans_seq.pipelines.output import plain_table

            cells = {r["experiment"]: {"runs": str(r["runs"]), "newest": r["newest"] or ""} for r in rows}
            plain_table("experiments", cells)
        return rows


def search_runs(uri: str | None, experiment: str | None, parent: str | None, last: int | None) -> list[Any]:
    """Return the runs of an experiment, or children of a run, the newest first, as MLflow gives them.

    A run that others belong to is left out: it sums them up.

    Raises:
        DataError: there is no such experiment or run, it has no runs, or `last` is below 1.
        TrackingError: the server or database cannot be reached.
    """
    if last is not None and last < 1:
        raise DataError(f"last must be at least 1, not {last}")
    found = ask_server(uri, lambda client: _search(client, experiment, parent))[:last]
    if not found:
        raise DataError(f"run {parent!r} has no children" if parent else f"experiment {experiment!r} has no runs")
    return found


def ask_server(uri: str | None, ask: Callable[[Any], T]) -> T:
    """Return the answer of a server or database to a client; raise TrackingError if it cannot be reached."""
    uri = resolve_uri(uri)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise TrackingError(f"cannot read runs at {uri}: there is no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ask(connect(uri))
    except DataError:
        raise
    except Exception as error:
        raise TrackingError(f"cannot read runs at {uri}: {reason(error)}") from error


def _search(client: Any, experiment: str | None, parent: str | None) -> list[Any]:
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID as PARENT

    names = {e.name: e.experiment_id for e in client.search_experiments()}
    known = f"there are {', '.join(sorted(names))}"
    if experiment is not None and experiment not in names:
        raise DataError(f"no experiment {experiment!r}; {known}")
    if parent is not None:
        place = _experiment_of(client, parent)
        if experiment is not None and place != names[experiment]:
            raise DataError(f"run {parent!r} is not of experiment {experiment!r}")
        found = _fetch_runs(client, place, f"tags.`{PARENT}` = '{parent}'")
    elif experiment is not None:
        found = _fetch_runs(client, names[experiment])
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


def _fetch_runs(client: Any, experiment: str, chosen: str = "") -> list[Any]:
    """Return all runs of an experiment, the newest first."""
    found, token = list[Any](), None
    while token != "":
        page = client.search_runs(
            [experiment], chosen, max_results=PAGE, order_by=["start_time DESC"], page_token=token
        )
        found, token = found + list(page), page.token or ""
    return found


def _count_runs(client: Any) -> list[dict[str, Any]]:
    rows = []
    for experiment in sorted(client.search_experiments(), key=lambda e: str(e.name)):
        found = _fetch_runs(client, experiment.experiment_id)
        newest = datetime.fromtimestamp(found[0].info.start_time / 1000, UTC) if found else None
        rows.append({
            "experiment": experiment.name,
            "runs": len(found),
            "newest": newest and newest.isoformat(sep=" ", timespec="seconds"),
        })  # fmt: skip
    return rows
