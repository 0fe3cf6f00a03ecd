"""Search hyper-parameters of a classifier of DNA with two workers, and look at the winner.

    python examples/sweep.py

A killed worker is replaced; with a `storage` the search could go on later, or on more machines.
"""

import tempfile
from pathlib import Path

from titans_seq import TitansDNAClassifier
from titans_seq.domains.genomics import load_chloroplast
from titans_seq.sweeps import sweep


def space(trial):
    """A chunk size that depends on the depth."""
    depth = trial.suggest_int("memory_depth", 1, 2)
    return {
        "memory_depth": depth,
        "chunk_size": trial.suggest_categorical("chunk_size", [8, 16]) if depth > 1 else 16,
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True),
    }


sequences, labels = load_chloroplast()
model = TitansDNAClassifier(max_epochs=1, kmer_size=4)
with tempfile.TemporaryDirectory() as folder:
    found = sweep(model, (sequences, labels), space, trials=3, workers=2, objectives=["val_loss", "seconds"])
    print(found.trials[["number", "state", "val_loss", "seconds", "memory_depth", "learning_rate"]].to_string())
    print("best:", found.best_params_)
    print("no trial is better than these in both:", found.pareto["number"].tolist())
    page = found.report(Path(folder) / "report.html")
    print(f"{page.name}: {page.stat().st_size:,} bytes")
