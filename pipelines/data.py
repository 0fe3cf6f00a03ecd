"""`titans-seq data`: public data sets by name."""

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class ListData:
    """The data sets there are, and which are on this machine."""

    json: bool = False
    """Print JSON."""

    def run(self) -> None:
        """Print a table."""
        from titans_seq.domains.timeseries.datasets import DATASETS, locate

        rows = {name: (d.licence, locate(name)) for name, d in DATASETS.items()}
        if self.json:
            print(json.dumps({n: {"licence": li, "path": str(p) if p else None} for n, (li, p) in rows.items()}))
            return
        table = Table("name", "licence", "where")
        for name, (licence, path) in rows.items():
            table.add_row(name, licence, str(path) if path else "not here: titans-seq data fetch " + name)
        Console().print(table)


@dataclass(frozen=True)
class FetchData:
    """Download a data set, checked by its checksum, unless it is here already."""

    name: Annotated[str, tyro.conf.Positional]
    """As `titans-seq data list` shows it."""

    def run(self) -> None:
        """Print where it is."""
        from titans_seq.domains.timeseries.datasets import fetch

        print(fetch(self.name, progress=True))


@dataclass(frozen=True)
class DataPath:
    """Where a data set is on this machine."""

    name: Annotated[str, tyro.conf.Positional]
    """As `titans-seq data list` shows it."""

    def run(self) -> None:
        """Print the path."""
        from titans_seq.domains.timeseries.datasets import locate
        from titans_seq.errors import DataError

        path = locate(self.name)
        if path is None:
            raise DataError(f"{self.name} is not on this machine: titans-seq data fetch {self.name}")
        print(path)
