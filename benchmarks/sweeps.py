"""`python -m benchmarks sweeps`: the cost of a trial beside its training, the gain of a second worker, long studies.

Sweeps of one worker, with all processors or with one thread, and of two finish the same number of trials of the same
estimator, in turns on the same machine; the time from the first trial's begin to the last one's end counts, and the
whole command's beside it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import SweepError
from titans_seq.pipelines.output import plain_table
from titans_seq.progress import show_progress

SETTINGS = ("dim=32", "layers=1", "max_epochs=2")
"""Beside the range of learning rates; everything else is the estimator's default, on its embedded data."""

ALONE, SINGLE = "one worker with all processors", "one worker with one thread"


@dataclass(frozen=True, kw_only=True)
class Sweeps(BenchmarkOptions):
    """Overhead of a trial, gain of a second worker, and `sweep status` of a study with thousands of trials."""

    trials: int = 4
    """Trials of each timed sweep."""
    turns: int = 1
    """Timed sweeps with each number of workers."""
    workers: int = 2
    """Compared with one."""
    long: int = 5000
    """Finished trials of the study whose status is asked for."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "trials", "turns", "workers", "long")
        settings = {k: v for k, v in asdict(self).items() if k not in ("output", "json")}
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            crowd = f"{self.workers} workers"
            kinds = {ALONE: (1, {}), SINGLE: (1, {"OMP_NUM_THREADS": "1"}), crowd: (self.workers, {})}
            sweeps: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
            for turn in show_progress(range(self.turns), "sweeps", not self.json):
                for kind, (workers, environment) in kinds.items():
                    sweeps[kind].append(self.sweep(place, f"{kind}, {turn}", workers, environment))
            status = self.status(place)
        rates = {kind: statistics.median(run["trials_per_minute"] for run in runs) for kind, runs in sweeps.items()}
        result: dict[str, Any] = {
            "benchmark": "sweeps",
            "settings": settings,
            "sweeps": sweeps,
            "gain": {kind: rates[crowd] / rates[kind] for kind in (ALONE, SINGLE)},
            "overhead_seconds_per_trial": statistics.median(
                run["overhead"] for runs in sweeps.values() for run in runs
            ),
            "status": status,
            **describe(),
        }
        write_result(self.output, "sweeps", result)
        if not self.json:
            rows = {
                **{f"{crowd}, times the trials of {kind}": f"{gain:.2f}" for kind, gain in result["gain"].items()},
                "a trial beside its training": f"{result['overhead_seconds_per_trial']:.2f} s",
                f"status of {self.long:,} trials, whole command": f"{status['seconds']:.2f} s",
            }
            plain_table("sweeps", {name: {"": cell} for name, cell in rows.items()})
        return result

    def sweep(self, place: Path, name: str, workers: int, environment: dict[str, str]) -> dict[str, float]:
        """Run one timed sweep, tracked."""
        import optuna

        url, began = f"sqlite:///{place / 'sweeps.db'}", time.perf_counter()
        _program(
            "run", "--domain", "timeseries", "--vary", "learning_rate=1e-3:4e-3:log", "--set", *SETTINGS,
            "--trials", str(self.trials), "--workers", str(workers), "--study", name, "--pruner", "NopPruner",
            "--storage", url, "--output", str(place / name), "--tracking-uri", f"sqlite:///{place / 'mlflow.db'}",
            place=place, **environment,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        trials = optuna.load_study(study_name=name, storage=url).trials
        ends = [t.datetime_complete for t in trials if t.datetime_complete is not None]
        starts = [t.datetime_start for t in trials if t.datetime_start is not None]
        fits = [t.user_attrs["fit_seconds"] for t in trials]
        span = (max(ends) - min(starts)).total_seconds()
        whole = [t.duration.total_seconds() for t in trials if t.duration is not None]
        return {
            "trials_per_minute": 60 * len(trials) / span,
            "command_seconds": seconds,
            "fit_seconds": statistics.mean(fits),
            "overhead": statistics.mean(whole) - statistics.mean(fits),
        }

    def status(self, place: Path) -> dict[str, float]:
        """Return seconds of `sweep status` for a long study, the program's start among them."""
        import optuna
        import sqlalchemy

        from titans_seq.sweeps.plan import make_plan
        from titans_seq.sweeps.space import Space
        from titans_seq.sweeps.storage import open_storage
        from titans_seq.sweeps.study import store_plan

        url = f"sqlite:///{place / 'long.db'}"
        storage = open_storage(url, fresh=True)

        @sqlalchemy.event.listens_for(storage.engine, "connect")
        def fast(connection: Any, _: Any) -> None:
            connection.execute("pragma synchronous = off")

        plan, _ = make_plan("timeseries", None, Space({}), {}, trials=self.long)
        space = plan.ranges or Space({})
        study = store_plan(storage, "long", plan)
        study.sampler = optuna.samplers.RandomSampler(seed=0)
        chosen = {name: space.values(name)[0] for name in space.parameters}
        trial = optuna.trial.create_trial(
            params=chosen,
            distributions=dict(space.parameters),
            value=0.5,
            intermediate_values=dict.fromkeys(range(6), 0.5),
            user_attrs={"fit_seconds": 10.0, "worker": "here:1"},
        )
        for _ in show_progress(range(self.long), "a long study", not self.json):
            study.add_trial(trial)
        runs = []
        for _ in range(5):
            began = time.perf_counter()
            _program("status", "--study", "long", "--storage", url, place=place)
            runs.append(time.perf_counter() - began)
        return {"trials": self.long, "seconds": statistics.median(runs), "slowest": max(runs)}


def _program(*options: str, place: Path, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "titans_seq.cli", "sweep", *options], cwd=place, capture_output=True, text=True,
        env=os.environ | environment,
    )  # fmt: skip
    if done.returncode:
        raise SweepError(done.stderr.strip().splitlines()[-1].removeprefix("error: "))


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    workers, status = result["settings"]["workers"], result["status"]
    gains = ", ".join(f"{gain:.2f} times {kind}" for kind, gain in result["gain"].items())
    return [
        Figure(f"trials a minute with {workers} workers", gains, ""),
        Figure("a trial beside its training", f"{result['overhead_seconds_per_trial']:.2f} s", ""),
        Figure(f"`sweep status` of {status['trials']:,} trials, whole command", f"{status['seconds']:.2f} s", ""),
    ]
