"""Reports on a study: counts, winner, importances; as plain values, tables and pictures."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from titans_seq.files import write_json, write_text
from titans_seq.pipelines.output import plain_table
from titans_seq.plotting import save_figure
from titans_seq.sweeps.plan import Plan
from titans_seq.sweeps.reconcile import ERROR, RETRY_OF, WORKER, Counts
from titans_seq.sweeps.worker import FIT_SECONDS

LEAST = 4
"""Complete trials below which importances say nothing."""


def summarize_counts(storage: RDBStorage, study: Study, plan: Plan) -> dict[str, Any]:
    """Return how far a study is."""
    counts, gone = Counts.from_storage(storage, study.study_name)
    return {
        "study": study.study_name,
        "domain": plan.domain,
        "data": plan.data or "embedded",
        "trials": plan.trials,
        **asdict(counts),
        "last_error": next((t.user_attrs[ERROR] for t in reversed(gone) if ERROR in t.user_attrs), None),
        "seed": plan.seed,
    }


def summarize(storage: RDBStorage, study: Study, plan: Plan) -> dict[str, Any]:
    """Return the counts, what the trials cost, the best one and importances."""
    counts, trials = summarize_counts(storage, study, plan), study.get_trials(deepcopy=False)
    return counts | {
        "retried": sum(RETRY_OF in t.user_attrs for t in trials),
        "fit_seconds": round(sum(t.user_attrs.get(FIT_SECONDS, 0.0) for t in trials), 1),
        "overhead_seconds_per_trial": _overhead(trials),
        "best": _best(study, plan) if counts["complete"] else None,
        "importances": parameter_importances(study, counts["complete"]),
    }


def parameter_importances(study: Study, complete: int) -> dict[str, float]:
    """Return the share of the loss's variance that each parameter explains (fANOVA), if trials are enough."""
    if complete < LEAST:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
            )
        except (RuntimeError, ValueError):  # all values are the same
            return {}
    return {name: float(share) for name, share in found.items()}


def write_report(folder: Path, study: Study, result: dict[str, Any]) -> None:
    """Write metrics.json, trials.csv, history.png and, with enough trials, importances.png."""
    frame = study.trials_dataframe(attrs=("number", "state", "value", "duration", "params", "user_attrs"))
    frame = frame.drop(columns=f"user_attrs_{WORKER}", errors="ignore")
    frame = frame.rename(columns=lambda name: name.removeprefix("params_").removeprefix("user_attrs_"))
    write_text(folder / "trials.csv", frame.rename(columns={"value": "val_loss"}).to_csv(index=False))
    if result["complete"]:
        _picture(folder / "history.png", optuna.visualization.matplotlib.plot_optimization_history, study)
    if result["importances"]:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        plot = optuna.visualization.matplotlib.plot_param_importances
        _picture(folder / "importances.png", plot, study, evaluator=evaluator)
    write_json(folder / "metrics.json", result)


def print_counts(result: dict[str, Any]) -> None:
    """Print how far a study is."""
    names = ("complete", "pruned", "running", "waiting", "failed", "lost")
    cells = {name: str(result[name]) for name in names}
    finished = result["complete"] + result["pruned"]
    plain_table(f"{result['study']}: {finished} of {result['trials']} trials are finished", {result["domain"]: cells})


def print_best(result: dict[str, Any]) -> None:
    """Print the winner, and what it owes it to."""
    best = result["best"]
    if best is None:
        print(f"{result['study']}: no trial is complete yet")
        return
    shares = result["importances"]
    rows = {
        name: {"value": str(value), "importance": f"{shares[name]:.0%}" if name in shares else ""}
        for name, value in sorted(best["varied"].items(), key=lambda item: -shares.get(item[0], 0.0))
    }
    plain_table(f"{result['study']}: trial {best['trial']} is best, validation loss {best['val_loss']:.4f}", rows)
    for name, score in result.get("test", {}).items():
        print(f"test {name.replace('_', ' ')}: {score:.4f}")


def _best(study: Study, plan: Plan) -> dict[str, Any]:
    best = study.best_trial
    return {
        "trial": best.number,
        "val_loss": best.value,
        "varied": best.params,
        "parameters": plan.parameters(best.params),
    }


def _overhead(trials: list[FrozenTrial]) -> float | None:
    """Return mean seconds of a complete trial that its estimator did not train."""
    rest = [
        t.duration.total_seconds() - t.user_attrs[FIT_SECONDS]
        for t in trials
        if t.state is TrialState.COMPLETE and t.duration is not None and FIT_SECONDS in t.user_attrs
    ]
    return round(sum(rest) / len(rest), 2) if rest else None


def _picture(path: Path, plot: Any, study: Study, **options: Any) -> None:
    import matplotlib

    with warnings.catch_warnings(), matplotlib.rc_context({"backend": "agg"}):
        warnings.simplefilter("ignore")
        axes = plot(study, target_name="validation loss", **options)
        save_figure(axes.figure, path, bbox_inches="tight")
        from matplotlib import pyplot

        pyplot.close(axes.figure)
