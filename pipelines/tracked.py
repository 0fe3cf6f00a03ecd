"""What tracked training has in common: the same metrics by the same names in every domain, and a model to serve."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.tracking import Run

if TYPE_CHECKING:
    from titans_seq.training import History

CODE = Path(__file__).with_name("served.py")
"""What a logged model runs to answer; MLflow copies it."""


def after_epoch(run: Run, folder: Path) -> Callable[[Any, bool], None]:
    """`on_epoch` of any estimator: the best model so far stands in the folder, and the losses are logged."""

    def done(fitted: Any, better: bool) -> None:
        if better:
            fitted.save(folder)
        log_epoch(run, fitted.history_)

    return done


def log_epoch(run: Run, history: "History") -> None:
    """Losses of the last epoch, as `train_loss` and `val_loss`."""
    losses = {"train_loss": history.train_loss[-1], "val_loss": history.validation_loss[-1]}
    run.metrics(losses, step=len(history.validation_loss) - 1)


def log_training(run: Run, history: "History") -> None:
    """What training came to, as `best_val_loss`, `fit_seconds` and `epochs`."""
    best = min(filter(math.isfinite, history.validation_loss))
    run.metrics({"best_val_loss": best, "fit_seconds": history.seconds, "epochs": len(history.train_loss)})


def log_scores(run: Run, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Scores on held-back data: those of `titans` as `test_SCORE`, those of any other model as `test_MODEL_SCORE`."""
    for model, values in scores.items():
        prefix = "test" if model == "titans" else "test_" + model.replace(" ", "_").replace("-", "_")
        run.metrics({f"{prefix}_{score}": value for score, value in values.items()})


def log_results(run: Run, folder: Path, files: Iterable[str]) -> None:
    """Files of a folder; `model` is logged so that `mlflow models serve` can answer with it."""
    for name in files:
        if name == "model":
            log_model(run, folder / name)
        else:
            run.artifact(folder / name)


def log_model(run: Run, folder: Path) -> str | None:
    """Log a saved model of any kind, ready to be served; returns its URI, or None if it was not logged."""

    def example() -> tuple[Any, Any]:
        from titans_seq.pipelines.answers import opened

        answers = opened(folder)
        table = answers.example()
        return table, answers.answer(answers.asked(table))

    return run.model(folder, CODE, example)
