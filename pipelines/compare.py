"""`titans-seq runs compare`: tracked runs side by side, as far as they differ, with their spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.errors import DataError
from titans_seq.files import write_text
from titans_seq.pipelines.compare_table import COUNT, NAME, STD, cell_text, print_comparison, row_label, row_settings
from titans_seq.pipelines.options import ResultOptions, TrackingOption
from titans_seq.pipelines.pairs import compare_groups
from titans_seq.pipelines.runs import search_runs
from titans_seq.plotting import new_figure, save_figure
from titans_seq.spread import mean_and_spread
from titans_seq.tracking import VERSION

if TYPE_CHECKING:
    import pandas as pd

FILES = ("compare.csv", "compare.png", "compare.html")
SEED = "random_state"
BEST = "best_val_loss"
HIGHER = ("accuracy", "auprc", "auroc", "mcc")
"""Scores of which more is better, by what their names end in."""
DRAWN = 40
"""Settings that are drawn, the first ones."""


def compare_runs(
    experiment: str | None = None,
    *,
    parent: str | None = None,
    metric: str | None = None,
    last: int | None = None,
    tracking_uri: str | None = None,
) -> pd.DataFrame:
    """Return the runs of an experiment, or the children of a run; those that differ only in `random_state` are one row.

    Where a seed was run twice, the newest counts. A run that others belong to is left out: it sums them up.

    Args:
        experiment: its name.
        parent: id of a run whose children are compared.
        metric: what to sort by, the best first; None: the best validation loss, or else newest first.
        last: only that many runs, the newest.
        tracking_uri: as in `titans_seq.tracking.track`.

    Returns:
        A row per setting: the parameters that differ, `status` and `version` among them if they do; `run` and `run_id`,
        the newest run; `runs`, their number; and each metric's mean, with its standard deviation as `METRIC std` (NaN
        for a single run).

    Raises:
        DataError: there is no such experiment, run or metric, or there are no runs or no metrics.
        TrackingError: the server or database cannot be reached.
    """
    return tabulate(search_runs(tracking_uri, experiment, parent, last), metric)[0]


def tabulate(found: list[Any], metric: str | None) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the table of `compare_runs`, and the metrics of each single run of a row, by the row's `run_id`.

    Args:
        found: MLflow's runs, the newest first.
    """
    frame, single = merge_runs(found)
    if not metric_names(frame):
        raise DataError("the runs have no metrics")
    if metric is not None and metric not in metric_names(frame):
        raise DataError(f"no run has a metric {metric!r}; there are {', '.join(metric_names(frame))}")
    by = metric or (BEST if BEST in frame else None)
    if by is None:
        return frame, single
    return frame.sort_values(by, ascending=not by.endswith(HIGHER), kind="stable", ignore_index=True), single


def metric_names(frame: pd.DataFrame) -> list[str]:
    """Return the names of the metrics of a comparison."""
    return [c.removesuffix(STD) for c in frame.columns if c.endswith(STD)]


def merge_runs(found: list[Any]) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return MLflow runs, the newest first, as `tabulate` does, rows in order of their newest run."""
    import pandas as pd

    settings = pd.DataFrame([_setting(run) for run in found]).fillna("")
    seeds = [run.data.params.get(SEED, run.info.run_id) for run in found]
    differing = [str(c) for c in settings if settings[c].nunique() > 1]
    scores = pd.DataFrame([run.data.metrics for run in found])
    names = sorted(map(str, scores))
    rows, single = [], {}
    groups = settings.groupby(differing).indices.values() if differing else [range(len(found))]
    for members in sorted(groups, key=min):
        once = list({seeds[i]: i for i in reversed(members)}.values())[::-1]
        row: dict[str, Any] = {c: settings[c].iloc[once[0]] for c in differing}
        newest = found[once[0]].info
        row |= {NAME: newest.run_name, "run_id": newest.run_id, COUNT: len(once)}
        single[newest.run_id] = scores.iloc[once]
        for name in names:
            row[name], row[name + STD] = mean_and_spread(scores[name].iloc[once])
        rows.append(row)
    frame = pd.DataFrame(rows)
    for name in differing:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        if numbers.notna().all():
            frame[name] = numbers
    return frame, single


def _setting(run: Any) -> dict[str, str]:
    """Return the parameters of a run, but for its seed."""
    status = "PRUNED" if run.data.tags.get("pruned") == "true" else run.info.status
    chosen = {k: v for k, v in run.data.params.items() if k != SEED}
    return chosen | {"status": status, "version": run.data.tags.get(VERSION, "")}


@dataclass(frozen=True, kw_only=True)
class Compare(ResultOptions, TrackingOption):
    """Compare tracked runs: what differs, what resulted, and how much of that is chance."""

    experiment: str | None = None
    """Name of an experiment: forecast, classify, lm, or a sweep's study."""
    parent: str | None = None
    """Id of a run; its children are compared."""
    metric: str | None = None
    """Metric to sort by and to draw; the best validation loss if not given."""
    last: int | None = None
    """Only that many runs, the newest."""
    between: tuple[str, str] | None = None
    """Two groups, each as NAME=VALUE or NAME=VALUE,NAME=VALUE, whose runs are tested in pairs that agree in all else,
    such as the seed."""
    output: Path | None = None
    """Folder for compare.csv, compare.png and compare.html; none writes nothing."""

    def run(self) -> Any:
        """Compare; return the rows; with `between` a dict of `settings`, which are these, and `paired`, the test."""
        from titans_seq.pipelines.compare_page import write_comparison
        from titans_seq.pipelines.output import claim_folder

        found = search_runs(self.tracking_uri, self.experiment, self.parent, self.last)
        frame, single = tabulate(found, self.metric)
        title = f"{self.experiment or self.parent}: {frame[COUNT].sum()} runs"
        shown = choose_metrics(frame, self.metric)
        paired = None if self.between is None else compare_groups(found, self.between, shown[0])
        if self.output is not None:
            claim_folder(self.output, FILES, self.force)
            write_text(self.output / FILES[0], frame.to_csv(index=False))
            plot_comparison(self.output / FILES[1], frame, single, shown[0], title)
            cells = [
                {"": str(number)}
                | row_settings(frame, row)
                | {name: cell_text(row[name], row[name + STD]) for name in shown}
                for number, row in enumerate(frame.to_dict("records"), 1)
            ]
            labels = [row_label(frame, row) for row in frame.to_dict("records")]
            write_comparison(self.output / FILES[2], title, cells, frame, single, shown, labels, paired)
        if not self.json:
            print_comparison(frame, shown, title)
            if paired is not None:
                print(paired.sentence)
        rows = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
        return rows if paired is None else {"settings": rows, "paired": paired.to_dict()}


def choose_metrics(frame: pd.DataFrame, metric: str | None) -> list[str]:
    """Return the metrics to show: the one asked for, the best validation loss, and test scores of the estimator."""
    names = metric_names(frame)
    tests = [n for n in names if n.startswith("test_") and not n.endswith("_sequences")]
    ours = [n for n in tests if not any(n != t and n.endswith(t.removeprefix("test")) for t in tests)]
    wanted = [metric, BEST, *ours, "fit_seconds"]
    return list(dict.fromkeys(n for n in wanted if n in names)) or names[:6]


def plot_comparison(
    path: Path, frame: pd.DataFrame, single: Mapping[str, pd.DataFrame], metric: str, title: str
) -> None:
    """Draw one metric of the first settings, from the top: mean and spread over seeds, and each run as a small point.

    Args:
        single: metrics of the runs of a row, by its `run_id`.
    """
    drawn = frame.head(DRAWN)
    places = range(len(drawn))
    rows = drawn.to_dict("records")
    labels = [row_label(frame, row) for row in rows]
    width = 7 + 0.06 * max(map(len, labels))
    figure = new_figure(width, 1.5 + 0.3 * len(drawn))
    axes = figure.subplots()
    axes.errorbar(drawn[metric], places, xerr=drawn[metric + STD].fillna(0.0), fmt="o", capsize=3, markersize=5)
    for place, row in enumerate(rows):
        values = single[str(row["run_id"])][metric]
        axes.plot(values, [place] * len(values), "o", color="black", markersize=3, alpha=0.6)
    axes.set_xlabel(f"{metric}, mean ± standard deviation" if (drawn[COUNT] > 1).any() else metric)
    axes.set_yticks(places, labels, fontsize=8)
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    left_out = f", the first {DRAWN} of {len(frame)} settings" if len(frame) > DRAWN else ""
    axes.set_title(title + left_out, loc="left", fontsize=10)
    save_figure(figure, path)
