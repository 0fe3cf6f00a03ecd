"""`python -m benchmarks defaults`: an estimator by its defaults beside other settings, such as a sweep found.

All are trained with the same seeds on the same data and are validated; the setting with the lowest mean validation loss
is the choice, and it alone is tested beside the defaults.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import DataError
from titans_seq.pipelines.compare_table import cell_text
from titans_seq.pipelines.output import plain_table
from titans_seq.pipelines.pairs import difference
from titans_seq.pipelines.settings import parse_settings
from titans_seq.progress import show_progress
from titans_seq.spread import mean_and_spread

DEFAULTS = "defaults"
SHOWN = ("mse", "mcc", "bits_per_byte")
"""Test scores that are worth a figure; all are in the result."""


@dataclass(frozen=True, kw_only=True)
class Defaults(BenchmarkOptions):
    """Defaults beside other settings, over seeds."""

    domain: str
    """timeseries, genomics or language."""
    data: Path
    """File or folder, as `titans-seq sweep run` takes it."""
    settings: tuple[str, ...]
    """Each a list NAME=VALUE,NAME=VALUE of what is set otherwise."""
    set: tuple[str, ...] = ()
    """What is set in all of them, the defaults too, as NAME=VALUE."""
    horizon: int | None = None
    """Time series: steps to forecast."""
    seeds: int = 3
    """Trainings of each."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "seeds")
        from titans_seq.domains.registry import find_domain
        from titans_seq.sweeps.plan import open_task

        options = {} if self.horizon is None else {"horizon": self.horizon}
        find_domain(self.domain)
        task = open_task(self.domain, str(self.data), 0.2, 0, options)
        common = parse_settings(self.set)
        settings: dict[str, dict[str, Any]] = {DEFAULTS: {}} | {
            text: parse_settings(text.split(",")) for text in self.settings
        }
        if len(settings) < 2:
            raise DataError("settings must name at least one other than the defaults")
        models: dict[str, list[Any]] = {name: [] for name in settings}
        turns = [(seed, name) for seed in range(self.seeds) for name in settings]
        for seed, name in show_progress(turns, "settings", not self.json):
            model = task.build(common | settings[name] | {"random_state": seed})
            task.fit(model)
            models[name].append(model)
        losses = {name: [model.history_.lowest for model in found] for name, found in models.items()}
        chosen = min(losses, key=lambda name: statistics.mean(losses[name]))
        tests = {name: [task.test(model) for model in models[name]] for name in dict.fromkeys((DEFAULTS, chosen))}
        result: dict[str, Any] = {
            "benchmark": "defaults",
            "domain": self.domain,
            "data": self.data.name,
            "horizon": self.horizon,
            "set": list(self.set),
            "seeds": self.seeds,
            "settings": {
                name: {
                    "val_loss": losses[name],
                    "seconds": [model.history_.seconds for model in found],
                    "n_parameters": sum(p.numel() for p in found[0].network_.parameters()),
                    "against_defaults": None if name == DEFAULTS else difference(losses[DEFAULTS], losses[name]),
                }
                for name, found in models.items()
            },
            "chosen": chosen,
            "command": self._command(),
            "test": tests,
            **describe(),
        }
        write_result(self.output, f"defaults-{self.domain}-{self.data.stem.lower()}", result)
        if not self.json:
            rows = {
                name: {
                    "validation loss": _cell(row["val_loss"]),
                    "seconds": _cell(row["seconds"]),
                    "parameters": f"{row['n_parameters']:,}",
                }
                for name, row in result["settings"].items()
            }
            plain_table(f"{self.domain}, {self.data.name}: {self.seeds} seeds", rows)
            print(f"chosen by validation: {chosen}")
            for name, scores in tests.items():
                print(f"{name}: " + ", ".join(f"test {key} {_cell([s[key] for s in scores])}" for key in scores[0]))
        return result

    def _command(self) -> str:
        """Return what was run, without where the data are on this machine."""
        words = ["python -m benchmarks defaults", f"--domain {self.domain}", f"--data {self.data.name}"]
        words += [] if self.horizon is None else [f"--horizon {self.horizon}"]
        words += [] if not self.set else ["--set", *self.set]
        return " ".join([*words, "--settings", *self.settings])


def _cell(values: list[float]) -> str:
    return cell_text(*mean_and_spread(values))


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    rows, chosen = result["settings"], result["chosen"]
    what = f"{result['domain']}, {result['data']}, {result['seeds']} seeds: "
    own, other = rows[DEFAULTS], rows[chosen]
    best = min((name for name in rows if name != DEFAULTS), key=lambda name: statistics.mean(rows[name]["val_loss"]))
    figures = [
        Figure(
            f"{what}validation loss by defaults, and by the best other setting of {len(rows) - 1} ({best})",
            _cell(own["val_loss"]),
            _cell(rows[best]["val_loss"]),
        )
    ]
    figures += [
        Figure(
            f"{what}test {score} by defaults, and by what validation chose ({chosen}; "
            f"{statistics.mean(other['seconds']) / statistics.mean(own['seconds']):.1f} times the time)",
            _cell([test[score] for test in result["test"][DEFAULTS]]),
            _cell([test[score] for test in result["test"][chosen]]),
        )
        for score in result["test"][chosen][0]
        if chosen != DEFAULTS and score in SHOWN
    ]
    return figures
