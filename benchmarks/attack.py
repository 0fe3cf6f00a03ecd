"""`python -m benchmarks attack`: what strangers hand in, and deaths at bad moments: tried and held.

Each attack runs in a process of its own with ten seconds and a gigabyte. It is held if it ends in one clear line, or in
a sound answer: a changed number of training steps harms nobody.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.attacks import sandbox
from benchmarks.attacks.sandbox import Attempt
from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.pipelines.output import plain_table
from titans_seq.progress import progress_bar

SHOWN = 20
"""Attacks of a kind that were not held and are named in the result."""


@dataclass(frozen=True, kw_only=True)
class Attack(BenchmarkOptions):
    """Hostile configurations, tensors, states and inputs, and kills while a model is saved: tried and held."""

    damaged: int = 200
    """Files with changed or missing bytes, for each file of each saved model."""
    seed: int = 0
    """Of what is changed in them."""

    def run(self) -> dict[str, Any]:
        """Attempt; return the content of the JSON file."""
        check_options(self)
        with tempfile.TemporaryDirectory() as folder:
            wrong, tried = self._attack(Path(folder))
        held = {kind: count - len(wrong.get(kind, {})) for kind, count in tried.items()}
        result: dict[str, Any] = {
            "benchmark": "attack",
            "tried": dict(tried),
            "held": held,
            "wrong": {kind: dict(list(found.items())[:SHOWN]) for kind, found in wrong.items()},
            **describe(),
        }
        write_result(self.output, "attack", result)
        if not self.json:
            rows = {kind: {"tried": f"{n:,}", "held": f"{held[kind]:,}"} for kind, n in tried.items()}
            plain_table("attacks", rows)
            for kind, found in wrong.items():
                for name, how in list(found.items())[:SHOWN]:
                    print(f"{kind}: {name}: {how}")
        return result

    def _attack(self, folder: Path) -> tuple[dict[str, dict[str, str]], Counter[str]]:
        """Return what was not held, by kind and name, and how many of each kind were tried."""
        wrong: dict[str, dict[str, str]] = {}
        tried: Counter[str] = Counter()
        attempts = list(_all_attempts(folder, self.damaged, self.seed))
        with ThreadPoolExecutor(os.cpu_count()) as pool, progress_bar(not self.json) as bar:
            results = bar.track(pool.map(sandbox.verdict, attempts), len(attempts), description="attacks")
            for attempt, how in zip(attempts, results, strict=True):
                tried[attempt.kind] += 1
                if how is not None:
                    wrong.setdefault(attempt.kind, {})[attempt.name] = how
        return wrong, tried


def _all_attempts(folder: Path, damaged: int, seed: int) -> Iterator[Attempt]:
    import torch

    from benchmarks.attacks import deaths, inputs, models, stored

    torch.set_num_threads(1)  # a pool of threads does not live through a fork
    saved, files = folder / "models", folder / "states"
    saved.mkdir()
    files.mkdir()
    models.save_models(saved)
    yield from stored.configurations(saved)
    yield from stored.tensors(saved)
    yield from stored.states(files)
    yield from stored.damaged(saved, damaged, seed)
    yield from inputs.empty_inputs(saved)
    yield from deaths.kills(saved)


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    held, tried = result["held"], result["tried"]
    return [Figure(f"attacks held: {kind}", f"{held[kind]:,} of {n:,}", "") for kind, n in tried.items()]
