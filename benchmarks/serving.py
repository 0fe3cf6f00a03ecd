"""`python -m benchmarks serving`: how fast a registered model of each domain answers behind MLflow's own server.

The same small question is asked again and again: by one client after the other, and by several at once; and beside it
of the same model in this process, without a server.
"""

import json
import os
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from benchmarks.served import served
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table

BRIEF = {
    "timeseries": {"max_epochs": 1},
    "genomics": {"max_epochs": 1},
    "language": {"max_epochs": 1, "epoch_steps": 2},
}
"""How little the models train: answers take as long as those of one that trained for hours."""


@dataclass(frozen=True, kw_only=True)
class Serving(BenchmarkOptions):
    """Latency and throughput of a served model of each domain, of default size."""

    domains: tuple[str, ...] = tuple(BRIEF)
    """Of timeseries, genomics, language."""
    requests: int = 300
    """Of one client, and of all clients at once."""
    clients: int = 4
    """At once."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "requests", "clients")
        if not set(self.domains) <= set(BRIEF) or not self.domains:
            raise DataError(f"domains must be of {', '.join(BRIEF)}, not {self.domains}")
        rows = {domain: self._measure(domain) for domain in self.domains}
        result: dict[str, Any] = {
            "benchmark": "serving", "requests": self.requests, "clients": self.clients, "domains": rows, **describe(),
        }  # fmt: skip
        write_result(self.output, "serving", result)
        if not self.json:
            heads = ("rows", "median", "95 %", "a second", "many", "a second, many", "no server")
            cells = {
                domain: {head: f"{value:.3g}" for head, value in zip(heads, row.values(), strict=True)}
                for domain, row in rows.items()
            }
            plain_table(f"milliseconds, and answers a second; many: {self.clients} clients at once", cells)
        return result

    def _measure(self, domain: str) -> dict[str, float]:
        """Return milliseconds of an answer, and answers a second."""
        from titans_seq.domains.registry import find_domain, load_predictor
        from titans_seq.pipelines.log import log_model
        from titans_seq.pipelines.saved import register_model
        from titans_seq.sweeps.plan import open_task
        from titans_seq.tracking import track

        task = open_task(find_domain(domain).name, None, 0.2, 0, {})
        model = task.build(BRIEF[domain])
        task.fit(model)
        here = Path.cwd()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            store = f"sqlite:///{folder / 'mlflow.db'}"
            os.chdir(folder)  # where MLflow puts its files
            try:
                with track(store, "serving", domain, {}) as run:
                    uri = register_model(log_model(run, model.save(folder / "model")), f"{domain}@champion", run)
            finally:
                os.chdir(here)
            predictor = load_predictor(folder / "model")
            table = predictor.example()
            question = json.dumps({"dataframe_split": table.to_dict(orient="split", index=False)}).encode()

            def direct() -> None:
                predictor.predict(predictor.from_table(table))

            alone = _times(direct, max(20, self.requests // 5))
            with served(uri, store, folder) as (address, _):
                request = urllib.request.Request(address, question, {"Content-Type": "application/json"})

                def ask(_: Any = None) -> float:
                    began = time.perf_counter()
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        answer.read()
                    return time.perf_counter() - began

                for _ in range(10):
                    ask()
                single = [ask() for _ in range(self.requests)]
                began = time.perf_counter()
                with ThreadPoolExecutor(self.clients) as pool:
                    many = list(pool.map(ask, range(self.requests)))
                seconds = time.perf_counter() - began
        return {
            "question_rows": float(len(table)),
            "median_ms": 1000 * median(single),
            "p95_ms": 1000 * quantiles(single, n=20)[-1],
            "per_second": self.requests / sum(single),
            "median_ms_of_clients": 1000 * median(many),
            "per_second_of_clients": self.requests / seconds,
            "median_ms_without_server": 1000 * median(alone),
        }


def _times(work: Any, count: int) -> list[float]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return found


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    return [
        Figure(
            f"{domain}, served by MLflow: median milliseconds of an answer to {row['question_rows']:,.0f} rows (95 % "
            f"within {row['p95_ms']:.1f}); {row['per_second']:.0f} answers a second to one client, "
            f"{row['per_second_of_clients']:.0f} to {result['clients']} at once",
            f"{row['median_ms']:.1f}",
            f"{row['median_ms_without_server']:.1f} without a server",
        )
        for domain, row in result["domains"].items()
    ]
