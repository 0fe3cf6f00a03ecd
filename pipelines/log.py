"""What every tracked training logs: the same parameters and metrics by the same names, and a model to serve."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.tracking import Run

if TYPE_CHECKING:
    from titans_seq.domains.task import Task
    from titans_seq.training import History

CODE = Path(__file__).with_name("serve.py")
"""What a logged model runs to answer; MLflow copies it."""


def run_parameters(task: "Task", model: Any) -> dict[str, Any]:
    """Return what a run logs at its start: the estimator's parameters and what the task tells of its data."""
    return {name: value for name, value in model.get_params().items() if name != "verbose"} | task.describe()


def fit_and_log(
    run: Run,
    task: "Task",
    model: Any,
    folder: Path | None = None,
    after_epoch: Callable[[Any], object] | None = None,
) -> None:
    """Fit an estimator, and log its losses as they come.

    Args:
        folder: where the best model so far stands at any time; None keeps none.
        after_epoch: called after each epoch with the estimator, fitted so far; what it raises ends the training.
    """

    def on_epoch(fitted: Any, better: bool) -> None:
        if better and folder is not None:
            fitted.save(folder)
        log_epoch(run, fitted.history_)
        if after_epoch is not None:
            after_epoch(fitted)

    try:
        task.fit(model, on_epoch)
    finally:
        if hasattr(model, "history_"):
            log_training(run, model.history_)


def log_epoch(run: Run, history: "History") -> None:
    """Log the losses of the last epoch, as `train_loss` and `val_loss`."""
    losses = {"train_loss": history.train_loss[-1], "val_loss": history.validation_loss[-1]}
    run.metrics(losses, step=len(history.validation_loss) - 1)


def log_training(run: Run, history: "History") -> None:
    """Log the lowest validation loss, the seconds and the epochs of a training."""
    best = min(filter(math.isfinite, history.validation_loss))
    run.metrics({"best_val_loss": best, "fit_seconds": history.seconds, "epochs": len(history.train_loss)})


def log_scores(run: Run, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Log scores on held-back data: of `titans` as `test_SCORE`, of any other model as `test_MODEL_SCORE`."""
    for model, values in scores.items():
        prefix = "test" if model == "titans" else "test_" + model.replace(" ", "_").replace("-", "_")
        run.metrics({f"{prefix}_{score}": value for score, value in values.items() if score != "seconds"})


def log_results(run: Run, folder: Path, files: Iterable[str]) -> str | None:
    """Log files of a folder; `model` is logged so that `mlflow models serve` can answer with it: return its URI."""
    uri = None
    for name in files:
        if name == "model":
            uri = log_model(run, folder / name)
        else:
            run.artifact(folder / name)
    return uri


def log_model(run: Run, folder: Path) -> str | None:
    """Log a saved model of any kind, ready to be served; return its URI, or None if it was not logged."""

    def example() -> tuple[Any, Any]:
        from titans_seq.domains.registry import load_predictor

        predictor = load_predictor(folder)
        table = predictor.example()
        return table, predictor.predict(predictor.from_table(table))

    return run.model(folder, CODE, example)
