"""The comparison of runs as a table on the terminal, and its cells as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from titans_seq.pipelines.output import short_text

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

COUNT, NAME, STD = "runs", "run", " std"
"""Columns: how many runs a row stands for, the name of the newest; and what the name of a spread ends in."""


def setting_names(frame: pd.DataFrame) -> list[str]:
    """Return the names of the parameters that differ."""
    return list(frame.columns[: list(frame.columns).index(NAME)])


def print_comparison(frame: pd.DataFrame, shown: list[str], title: str) -> None:
    """Print a row per setting, means with their standard deviations.

    Where that is too wide, settings are numbered and listed below, and the last metrics are left out.
    """
    from rich.console import Console

    console = Console()
    settings = [row_settings(frame, row) for row in frame.to_dict("records")]
    table = _table(frame, settings, shown, title)
    if _width(console, table) <= console.width:
        console.print(table)
        return
    numbered = [{"#": str(number)} for number in range(1, len(frame) + 1)]
    count = len(shown)
    while count > 1 and _width(console, _table(frame, numbered, shown[:count], title)) > console.width:
        count -= 1
    console.print(_table(frame, numbered, shown[:count], title))
    if count < len(shown):
        console.print(f"not shown: {', '.join(shown[count:])}", highlight=False)
    for number, setting in enumerate(settings, 1):
        console.print(f"{number}: {', '.join(f'{n}={v}' for n, v in setting.items())}", highlight=False, markup=False)


def _table(frame: pd.DataFrame, labels: list[dict[str, str]], shown: list[str], title: str) -> Table:
    """Return a row per setting: its labels, the number of runs, and metrics."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in [*labels[0], COUNT, *shown]:
        table.add_column(name, justify="left" if name in labels[0] else "right", overflow="fold")
    for label, row in zip(labels, frame.to_dict("records"), strict=True):
        scores = [cell_text(row[name], row[name + STD]) for name in shown]
        table.add_row(*label.values(), str(row[COUNT]), *scores)
    return table


def row_settings(frame: pd.DataFrame, row: Mapping[Any, Any]) -> dict[str, str]:
    """Return the parameters of a row that differ from those of others, or its name."""
    return {name: short_text(row[name]) for name in setting_names(frame) or [NAME]}


def row_label(frame: pd.DataFrame, row: Mapping[Any, Any]) -> str:
    """Return the settings of a row in a line."""
    names = setting_names(frame)
    return ", ".join(f"{name}={short_text(row[name])}" for name in names) or str(row[NAME])


def _width(console: Console, table: Table) -> int:
    """Return the columns of the terminal that a table takes if nothing in it is folded."""
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum


def cell_text(mean: float, spread: float) -> str:
    if math.isnan(spread):
        return "" if math.isnan(mean) else f"{mean:.4g}"
    return f"{mean:.4g} ± {0 if spread < 1e-9 * abs(mean) else spread:.2g}"
