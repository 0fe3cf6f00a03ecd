"""`python -m benchmarks endurance`: long use costs the same at its end as at its beginning.

A forecaster is moved on row by row and asked each time, a served model is asked again and again, and a language model
reads and writes for hours. Time is processor time, which other work on the machine changes a little too.
"""

import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from benchmarks.served import served
from titans_seq.pipelines.output import plain_table

PARTS = 20
"""Parts of a run; the median call of the last four is compared with that of the second to the fifth."""


@dataclass(frozen=True, kw_only=True)
class Endurance(BenchmarkOptions):
    """Processor time and memory along 20,000 updates, 5,000 requests and hours of a stream."""

    updates: int = 20_000
    """Rows that a forecaster takes in one by one, with a forecast behind each."""
    requests: int = 5_000
    """Questions to a served model."""
    stream_minutes: float = 120
    """Time that a language model reads and writes one stream."""
    seed: int = 0
    """Of data and weights."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "updates", "requests")
        import torch

        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            parts = {
                "updates": _update(self.updates, self.seed),
                "requests": _ask(self.requests, Path(folder), self.seed),
                "stream": _stream(60 * self.stream_minutes, self.seed),
            }
        result: dict[str, Any] = {"benchmark": "endurance", "parts": parts, **describe()}
        write_result(self.output, "endurance", result)
        if not self.json:
            rows = {
                name: {
                    "calls": f"{part['calls']:,}",
                    "ms a call": f"{1e3 * part['seconds_last']:.2f}",
                    "last / first": f"{part['time_ratio']:.3f}",
                    "memory growth": f"{part['memory_growth']:+.2%}",
                    "wrong": f"{part['wrong']}",
                }
                for name, part in parts.items()
            }
            plain_table("long use", rows)
        return result


def _measure(calls: Iterator[bool], seconds: Callable[[], float], memory: Callable[[], int]) -> dict[str, Any]:
    """Make all calls, each of which says whether its answer was sound; return time and memory along them."""
    times, sizes, wrong = [], [], 0
    last = seconds()
    for sound in calls:
        wrong += not sound
        now = seconds()
        times.append(now - last)
        last = now
        sizes.append(memory())
    part = max(1, len(times) // PARTS)
    first, end = slice(part, 5 * part), slice(-4 * part, None)
    begin = median(times[first] or times)
    return {
        "calls": len(times),
        "wrong": wrong,
        "seconds_first": begin,
        "seconds_last": median(times[end]),
        "time_ratio": median(times[end]) / max(begin, 1e-9),
        "bytes_first": median(sizes[first] or sizes),
        "bytes_last": median(sizes[end]),
        "memory_growth": median(sizes[end]) / median(sizes[first] or sizes) - 1,
        "bytes_by_part": [int(median(sizes[i : i + part])) for i in range(0, len(sizes), part)],
    }


def _own() -> tuple[Callable[[], float], Callable[[], int]]:
    import psutil

    process = psutil.Process()
    return time.process_time, lambda: int(process.memory_info().rss)


def _update(count: int, seed: int) -> dict[str, Any]:
    """Take in rows one by one, and forecast behind each."""
    import numpy as np
    import pandas as pd

    from titans_seq import TitansForecaster

    steps = 500 + count
    hours, rng = np.arange(steps), np.random.default_rng(seed)
    waves = np.stack([np.sin(hours * np.pi / 12), np.cos(hours * np.pi / 84)], 1) + 0.1 * rng.normal(size=(steps, 2))
    frame = pd.DataFrame(waves, pd.date_range("2020-01-01", periods=steps, freq="h"), ["a", "b"])
    model = TitansForecaster(horizon=24, random_state=seed, max_epochs=2).fit(frame.iloc[:500])

    def calls() -> Iterator[bool]:
        for row in range(500, steps):
            forecast = model.update(frame.iloc[row : row + 1]).predict()
            yield bool(np.isfinite(forecast.to_numpy()).all()) and forecast.index[0] > frame.index[row]

    return _measure(calls(), *_own())


def _stream(seconds: float, seed: int) -> dict[str, Any]:
    """Read 1,000 bytes and write 20, again and again, with one state."""
    import torch

    from titans_seq import TitansLM
    from titans_seq.domains.language.text import embedded_text

    text = embedded_text()
    model = TitansLM(random_state=seed, epoch_steps=20, max_epochs=1).fit(text[:50_000])
    tokens = model.vocabulary_.encode(text)

    def calls() -> Iterator[bool]:
        state, place, end = None, 0, time.monotonic() + seconds
        while time.monotonic() < end:
            piece = tokens[place : place + 1000].unsqueeze(0)
            place = (place + 1000) % (len(tokens) - 1000)
            with torch.inference_mode():
                logits, state = model.network_(piece, state)
                for _ in range(20):
                    logits, state = model.network_(logits[:, -1:].argmax(-1), state)
            yield bool(torch.isfinite(logits).all())

    return _measure(calls(), *_own())


def _ask(count: int, folder: Path, seed: int) -> dict[str, Any]:
    """Ask a served forecaster for the same forecast again and again."""
    from benchmarks.attacks.models import series
    from titans_seq import TitansForecaster
    from titans_seq.pipelines.log import log_model
    from titans_seq.tracking import track

    store = f"sqlite:///{folder / 'mlflow.db'}"
    model = TitansForecaster(horizon=24, random_state=seed, max_epochs=2).fit(series(500))
    here = Path.cwd()
    os.chdir(folder)  # where MLflow puts its files
    try:
        with track(store, "endurance", "forecaster", {}) as run:
            uri = log_model(run, model.save(folder / "model"))
    finally:
        os.chdir(here)
    table = series(100, 460).reset_index().astype({"when": str})
    question = json.dumps({"dataframe_split": table.to_dict(orient="split", index=False)}).encode()
    with served(str(uri), store, folder) as (address, process):
        tree = [process, *process.children(recursive=True)]
        request = urllib.request.Request(address, question, {"Content-Type": "application/json"})

        def ask() -> bytes:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return bytes(answer.read())

        first = ask()
        calls = (ask() == first for _ in range(count))

        def seconds() -> float:
            return sum(sum(p.cpu_times()[:2]) for p in tree)

        return _measure(calls, seconds, lambda: sum(p.memory_info().rss for p in tree))


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    labels = {
        "updates": "updates and forecasts of a forecaster",
        "requests": "requests to a served model",
        "stream": "pieces of 1,000 bytes read and 20 written by a language model",
    }
    return [
        Figure(
            f"processor time of the last fifth to that after the first twentieth, {part['calls']:,} {labels[name]}",
            f"{part['time_ratio']:.2f}",
            f"memory {part['memory_growth']:+.1%}, wrong answers {part['wrong']}",
        )
        for name, part in result["parts"].items()
    ]
