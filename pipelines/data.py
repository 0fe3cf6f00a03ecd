"""`titans-seq data`: public data sets by name."""

import json
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from titans_seq.datasets import Dataset
from titans_seq.domains.registry import all_domains
from titans_seq.pipelines.options import JsonOption


def collect_datasets() -> dict[str, Dataset]:
    """Return the data sets of all domains, by name."""
    return {name: d for domain in all_domains().values() for name, d in domain.load_datasets().items()}


@dataclass(frozen=True, kw_only=True)
class ListData(JsonOption):
    """List the data sets, and which are on this machine."""

    def run(self) -> None:
        """Print a table."""
        from titans_seq.datasets import locate

        datasets = collect_datasets()
        rows = {name: (d.licence, locate(d)) for name, d in datasets.items()}
        if self.json:
            print(json.dumps({n: {"licence": li, "path": str(p) if p else None} for n, (li, p) in rows.items()}))
            return
        table = Table("name", "licence", "where")
        for name, (licence, path) in rows.items():
            table.add_row(name, licence, str(path) if path else _missing(name, datasets[name]))
        Console().print(table)


@dataclass(frozen=True)
class FetchData:
    """Download a data set, checked by its checksum, unless it is here already."""

    name: Annotated[str, tyro.conf.Positional]
    """As `titans-seq data list` shows it."""

    def run(self) -> None:
        """Print where it is."""
        from titans_seq.datasets import fetch

        print(fetch(self.name, collect_datasets(), progress=True))


@dataclass(frozen=True)
class DataPath:
    """Print where a data set is on this machine."""

    name: Annotated[str, tyro.conf.Positional]
    """As `titans-seq data list` shows it."""

    def run(self) -> None:
        """Print the path."""
        from titans_seq.datasets import find, locate
        from titans_seq.errors import DataError

        dataset = find(self.name, collect_datasets())
        path = locate(dataset)
        if path is None:
            raise DataError(f"{self.name} is {_missing(self.name, dataset)}")
        print(path)


def _missing(name: str, dataset: Dataset) -> str:
    if all(file.url for file in dataset.files):
        return f"not here: titans-seq data fetch {name}"
    return f"not here, and has no address: put {dataset.path} below TITANS_SEQ_DATA"
