"""Input that says nothing: a confident answer to it is a wrong."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.attacks.models import series
from benchmarks.attacks.sandbox import Attempt

KIND = "input that says nothing"


def empty_inputs(saved: Path) -> Iterator[Attempt]:
    """Yield questions to saved models that no model can answer, through what serving and commands share."""
    from titans_seq.domains.registry import load_predictor

    def asked(name: str, ask: Callable[[Any, Path], Any]) -> Callable[[Path], str | None]:
        def action(scratch: Path) -> str | None:
            answer = ask(load_predictor(saved / name), scratch)
            return None if "b" in answer and answer["b"].isna().all() else "it was answered"

        return action

    def table(frame: pd.DataFrame) -> Callable[[Any, Path], Any]:
        return lambda model, _: model.predict(model.from_table(frame))

    def file(name: str, text: str) -> Callable[[Any, Path], Any]:
        def ask(model: Any, scratch: Path) -> Any:
            (scratch / name).write_text(text)
            return model.predict(model.from_file(scratch / name))

        return ask

    rows = series(40, 100).reset_index()
    missing = rows.assign(a=np.nan, b=np.nan)
    channel = rows.assign(b=np.nan)
    for name in sorted(p.name for p in saved.iterdir()):
        if name.startswith("forecaster"):
            yield Attempt(KIND, f"{name}: a history whose values are all missing", asked(name, table(missing)))
            yield Attempt(KIND, f"{name}: the same as a file", asked(name, file("h.csv", missing.to_csv(index=False))))
            yield Attempt(KIND, f"{name}: a channel whose values are all missing", asked(name, table(channel)))
            yield Attempt(KIND, f"{name}: a history of no rows", asked(name, table(rows[:0])))
        elif name.startswith("DNA"):
            for letters in ("", "N" * 40, "-" * 40, " "):
                frame = pd.DataFrame({"sequence": ["ACGT" * 10, letters]})
                yield Attempt(KIND, f"{name}: the sequence {letters[:4]!r}", asked(name, table(frame)))
            yield Attempt(KIND, f"{name}: no sequence", asked(name, table(pd.DataFrame({"sequence": []}))))
            yield Attempt(KIND, f"{name}: an empty FASTA", asked(name, file("x.fasta", "")))
        elif name.startswith("language"):
            yield Attempt(KIND, f"{name}: an empty file", asked(name, file("x.txt", "")))
            yield Attempt(KIND, f"{name}: no line", asked(name, table(pd.DataFrame({"text": []}))))
