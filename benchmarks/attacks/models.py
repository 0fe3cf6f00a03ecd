"""Small models of every domain, saved, and the ways to use them that must answer soundly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TEXT = "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer. " * 12
STEPS = 160
"""Rows of the series that forecasters learn from."""


def series(steps: int = STEPS, start: int = 0) -> pd.DataFrame:
    """Return two channels of hourly waves."""
    hours = np.arange(start, start + steps)
    noise = np.random.default_rng(start).normal(size=(2, steps)) / 10
    index = pd.date_range("2024-01-01", periods=start + steps, freq="h", name="when")[start:]
    return pd.DataFrame({"a": np.sin(hours / 4) + noise[0], "b": 5 + np.cos(hours / 4) + noise[1]}, index=index)


def save_models(folder: Path) -> None:
    """Train and save small models: all variants of a language model, two classifiers, two forecasters."""
    from titans_seq import TitansDNAClassifier, TitansForecaster, TitansLM

    size: dict[str, Any] = {"dim": 16, "layers": 1, "heads": 2, "chunk_size": 4, "window": 8, "max_epochs": 1}
    for variant in ("lmm", "mac", "mag", "mal", "attention"):
        model = TitansLM(variant=variant, context=16, epoch_steps=2, persistent_tokens=2, **size)
        model.fit(TEXT).save(folder / f"language {variant}")
    rich, poor = ["GCGC" * 5, "GGCC" * 6] * 10, ["ATAT" * 5, "TTAA" * 6] * 10
    for variant in ("lmm", "none"):
        classifier = TitansDNAClassifier(variant=variant, motifs=8, batch_size=8, **size)
        classifier.fit(rich + poor, ["rich"] * 20 + ["poor"] * 20).save(folder / f"DNA {variant}")
    for variant in ("mag", "lmm"):
        forecaster = TitansForecaster(horizon=4, variant=variant, steps_per_epoch=2, **size)
        forecaster.fit(series()).save(folder / f"forecaster {variant}")


def use_model(folder: Path) -> str | None:
    """Load a saved model and let it answer; return what is wrong with the answer, or None."""
    from titans_seq.saving import read_config

    kind = str(read_config(folder).get("kind"))
    return USES.get(kind, _use_language)(folder)


def _use_language(folder: Path) -> str | None:
    from titans_seq import TitansLM

    model = TitansLM.load(folder)
    model.generate("To be", max_new_tokens=8)
    return None if 0 < model.bits_per_byte(TEXT[:200]) < 1e3 else "bits per byte out of reason"


def _use_dna(folder: Path) -> str | None:
    from titans_seq import TitansDNAClassifier

    shares = TitansDNAClassifier.load(folder).predict_proba(["GCGCGCGCAATT", "ACGTN" * 12])
    return None if np.isfinite(shares).all() and np.allclose(shares.sum(1), 1) else "probabilities are none"


def _use_forecaster(folder: Path) -> str | None:
    from titans_seq import TitansForecaster

    model = TitansForecaster.load(folder)
    first = np.asarray(model.predict())
    after = np.asarray(model.update(series(9, STEPS)).predict())
    return None if np.isfinite(first).all() and np.isfinite(after).all() else "a forecast is not finite"


USES: dict[str, Callable[[Path], str | None]] = {
    "TitansLM": _use_language,
    "TitansDNAClassifier": _use_dna,
    "TitansForecaster": _use_forecaster,
}
"""Class of a saved model -> what uses it."""
