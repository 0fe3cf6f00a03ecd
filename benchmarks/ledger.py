"""Rows of a long benchmark on disk as they come, so that an interruption loses one run at the most."""

import json
import sys
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.environment import describe
from benchmarks.options import write_result
from titans_seq.files import write_json


class Ledger:
    """What an earlier, interrupted run of the same settings has measured, and what this one adds.

    Args:
        folder: where NAME-rows.json lies until `close`; None keeps nothing.
        settings: plain values; rows of other settings are not taken over.
    """

    def __init__(self, folder: Path | None, name: str, settings: dict[str, Any]) -> None:
        self.folder, self.name = folder, name
        self.path = None if folder is None else folder / f"{name}-rows.json"
        self.settings = json.loads(json.dumps(settings))
        self.rows: list[dict[str, Any]] = []
        try:
            stored = {} if self.path is None else json.loads(self.path.read_text(encoding="utf-8"))
            if stored["settings"] == self.settings:
                self.rows = list(stored["rows"])
        except (OSError, ValueError, LookupError, TypeError):
            pass  # nothing there, or nothing of use

    def find(self, **key: Any) -> dict[str, Any] | None:
        """Return the row that has these values."""
        return next((row for row in self.rows if all(row.get(k) == v for k, v in key.items())), None)

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        """Write a row down, with the commit it was measured at."""
        self.rows.append(row | {"commit": describe()["commit"]})
        if self.path is not None:
            write_json(self.path, {"settings": self.settings, "rows": self.rows})
        return self.rows[-1]

    def finish(self, **content: Any) -> dict[str, Any]:
        """Write the result, what is given beside settings, rows and machine, and remove the rows' file; return it."""
        result = {"benchmark": self.name, "settings": self.settings, **content, "runs": self.rows, **describe()}
        write_result(self.folder, self.name, result)
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        return result


def measure_models(
    options: Any,
    name: str,
    models: Collection[str],
    once: Callable[[str, int], dict[str, Any]],
    line: Callable[[dict[str, Any]], str],
    order: Collection[str] | None = None,
) -> Ledger:
    """Measure models with all seeds of a benchmark's options, but those that an interrupted run has measured.

    Args:
        options: with `seeds`, `seed`, and `output`; the others are the settings that the rows belong to.
        once: returns the row of a model and a seed.
        line: what standard error says of a row.
        order: of the rows, if there may be others than of `models`.
    """
    left_out = ("output", "json", "seeds", "seed", "models")
    ledger = Ledger(options.output, name, {key: of for key, of in asdict(options).items() if key not in left_out})
    for seed in range(options.seed, options.seed + options.seeds):
        for model in models:
            row = ledger.find(model=model, seed=seed) or ledger.add({"model": model, "seed": seed, **once(model, seed)})
            if not options.json:
                print(f"{model}, seed {seed}: {line(row)}", file=sys.stderr)
    places = {model: place for place, model in enumerate(order or models)}
    ledger.rows.sort(key=lambda row: (places.get(row["model"], len(places)), row["seed"]))
    return ledger
