"""The comparison of runs as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.page import Section, write_html
from titans_seq.pipelines.compare_table import STD
from titans_seq.pipelines.pairs import PairedTest

if TYPE_CHECKING:
    import pandas as pd


def write_comparison(
    path: Path,
    title: str,
    rows: list[dict[str, str]],
    frame: pd.DataFrame,
    single: Mapping[str, pd.DataFrame],
    metrics: list[str],
    labels: list[str],
    paired: PairedTest | None,
) -> None:
    """Write a page with the table, a picture of each metric, and the paired test if there is one.

    Args:
        rows: settings and metrics as text.
        frame: what `compare_runs` returned.
        single: metrics of the runs of a row, by its `run_id`.
        metrics: to draw.
        labels: of the rows.
    """
    sections = [Section(title="Settings", rows=rows)]
    for metric in metrics:
        plot = _plot(frame, single, metric, labels)
        sections.append(Section(title=metric, plot=plot, width=340))
    best = "" if paired is None else paired.sentence
    summary = "Runs that differ in nothing but the seed are one row: mean ± standard deviation."
    write_html(path, title, summary, best, sections)


def _plot(frame: pd.DataFrame, single: Mapping[str, pd.DataFrame], metric: str, labels: list[str]) -> Any:
    """Return a figure with mean, spread, and every run."""
    import plotly.graph_objects as go

    numbers = [str(number) for number in range(1, len(labels) + 1)]
    figure = go.Figure()
    spread = {"type": "data", "array": frame[metric + STD].fillna(0.0)}
    figure.add_scatter(
        x=frame[metric], y=numbers, error_x=spread, mode="markers", name="mean", text=labels, marker={"size": 9}
    )
    points = [
        (value, number, label)
        for number, label, run in zip(numbers, labels, frame["run_id"], strict=True)
        for value in single[str(run)][metric]
    ]
    x, y, text = zip(*points, strict=True)
    figure.add_scatter(x=x, y=y, mode="markers", name="runs", text=text, marker={"size": 4, "color": "black"})
    return figure.update_layout(
        xaxis_title=metric, yaxis={"autorange": "reversed", "type": "category"}, height=160 + 24 * len(labels)
    )
