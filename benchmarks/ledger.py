"""Rows of a long benchmark on disk as they come, so that an interruption loses one run at the most."""

import json
from pathlib import Path
from typing import Any

from benchmarks.environment import describe
from titans_seq.files import write_json


class Ledger:
    """What an earlier, interrupted run of the same settings has measured, and what this one adds.

    Args:
        folder: where NAME-rows.json lies until `close`; None keeps nothing.
        settings: plain values; rows of other settings are not taken over.
    """

    def __init__(self, folder: Path | None, name: str, settings: dict[str, Any]) -> None:
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

    def close(self) -> None:
        """Remove the file: the result stands elsewhere now."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
