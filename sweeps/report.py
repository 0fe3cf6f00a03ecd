"""Reports on a study: counts, winner, importances; as plain values, tables, pictures, and a page."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from titans_seq.files import write_json, write_text
from titans_seq.pipelines.output import plain_table
from titans_seq.plotting import new_figure, save_figure
from titans_seq.sweeps.best import best_trial
from titans_seq.sweeps.page import write_page
from titans_seq.sweeps.plan import Plan
from titans_seq.sweeps.reconcile import ERROR, RETRY_OF, WORKER, Counts
from titans_seq.sweeps.space import SpaceFunction
from titans_seq.sweeps.worker import FIT_SECONDS, GIVEN_UP

if TYPE_CHECKING:
    import pandas as pd

FILES = ("metrics.json", "trials.csv", "history.png", "importances.png", "slices.png", "report.html", "model")
"""What `sweep run` writes."""
SIDE_BY_SIDE, FEW = 5, 6
"""Parameters in a row of a picture, and values up to which each has a place of its own."""
LEAST = 4
"""Complete trials below which importances say nothing."""


def summarize_counts(storage: RDBStorage, study: Study, plan: Plan) -> dict[str, Any]:
    """Return how far a study is."""
    counts, gone = Counts.from_storage(storage, study.study_name)
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)) if counts.pruned else []
    return {
        "study": study.study_name,
        "domain": plan.domain or plan.estimator,
        "data": Path(plan.data).name
        if plan.data
        else ("embedded" if plan.domain else f"in memory, {plan.data_digest[:12]}"),
        "trials": plan.trials,
        **asdict(counts),
        "sampler": plan.sampler,
        "pruner": plan.pruner,
        "last_given_up": next((f"trial {t.number} by {t.user_attrs.get(GIVEN_UP)}" for t in reversed(pruned)), None),
        "last_error": next((t.user_attrs[ERROR] for t in reversed(gone) if ERROR in t.user_attrs), None),
        "seed": plan.seed,
    }


def summarize(storage: RDBStorage, study: Study, plan: Plan, space: SpaceFunction | None = None) -> dict[str, Any]:
    """Return the counts, what the trials cost, the best one and importances.

    Args:
        space: says which parameters a trial stands for; None: its own.
    """
    counts, trials = summarize_counts(storage, study, plan), study.get_trials(deepcopy=False)
    best = best_trial(study, plan)
    return counts | {
        "retried": sum(RETRY_OF in t.user_attrs for t in trials),
        "fit_seconds": round(sum(t.user_attrs.get(FIT_SECONDS, 0.0) for t in trials), 1),
        "overhead_seconds_per_trial": _overhead(trials),
        "best": None if best is None else _describe(best, plan, space),
        "pareto": [] if plan.has_one_objective else [_describe(t, plan, space) for t in study.best_trials],
        "importances": parameter_importances(study, counts["complete"]),
    }


def parameter_importances(study: Study, complete: int) -> dict[str, float]:
    """Return the share of the first objective's variance that each parameter explains (fANOVA); empty if too few."""
    if complete < LEAST:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=lambda t: t.values[0])
        except (RuntimeError, ValueError):  # all values are the same, or no parameter is in all trials
            return {}
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def trials_frame(study: Study, plan: Plan) -> pd.DataFrame:
    """Return a row per trial: number, state, objectives, duration, parameters, and what was noted on the way."""
    attrs = ("number", "state", "value" if plan.has_one_objective else "values", "duration", "params", "user_attrs")
    frame = study.trials_dataframe(attrs=attrs)
    frame = frame.drop(columns=f"user_attrs_{WORKER}", errors="ignore")
    names = [name for name, _ in plan.objectives]
    given = {f"{kind}_{name}": name for kind in ("value", "values") for name in names}  # as Optuna says metric names
    frame = frame.rename(columns={"value": names[0]} | given)
    plain = frame.rename(columns=lambda name: name.removeprefix("params_").removeprefix("user_attrs_"))
    kept: pd.DataFrame = plain.loc[:, ~plain.columns.duplicated()]  # a score is noted for each trial and is its value
    return kept


def write_report(folder: Path, study: Study, plan: Plan, result: dict[str, Any]) -> None:
    """Write metrics.json, trials.csv, history.png, slices.png, report.html and, with enough trials, importances.png."""
    write_text(folder / "trials.csv", trials_frame(study, plan).to_csv(index=False))
    if result["complete"]:
        _plot_history(folder / "history.png", study, plan)
        _plot_slices(folder / "slices.png", study, plan)
    if result["importances"]:
        _plot_importances(folder / "importances.png", result["importances"], study.study_name)
    write_page(folder / "report.html", study, plan, result)
    write_json(folder / "metrics.json", result)


def print_counts(result: dict[str, Any]) -> None:
    """Print how far a study is."""
    names = ("complete", "pruned", "running", "waiting", "failed", "lost")
    cells = {name: str(result[name]) for name in names}
    finished = result["complete"] + result["pruned"]
    plain_table(f"{result['study']}: {finished} of {result['trials']} trials are finished", {result["domain"]: cells})
    for title, name in (("given up last", "last_given_up"), ("last error", "last_error")):
        if result[name] is not None:
            print(f"{title}: {result[name]}")


def print_best(result: dict[str, Any], plan: Plan) -> None:
    """Print the winner, and what it owes it to."""
    best, title = result["best"], f"{result['study']}: "
    if best is None:
        print(title + "no trial is complete yet")
        return
    names = [name for name, _ in plan.objectives]
    said = ", ".join(f"{'validation loss' if n == 'val_loss' else n.replace('_', ' ')} {best[n]:.4f}" for n in names)
    shares = result["importances"]
    rows = {
        name: {"value": str(value), "importance": f"{shares[name]:.0%}" if name in shares else ""}
        for name, value in sorted(best["varied"].items(), key=lambda item: -shares.get(item[0], 0.0))
    }
    plain_table(f"{title}trial {best['trial']} is best, {said}", rows)
    if result["pareto"]:
        front = {f"trial {t['trial']}": {n: f"{t[n]:.4g}" for n in names} for t in result["pareto"]}
        plain_table("no trial beats these in all objectives", front)
    for name, score in result.get("test", {}).items():
        print(f"test {name.replace('_', ' ')}: {score:.4f}")


def _describe(trial: FrozenTrial, plan: Plan, space: SpaceFunction | None) -> dict[str, Any]:
    """Return a complete trial as plain values."""
    varied = dict(trial.params if space is None else space(FixedTrial(trial.params, trial.number)))
    values = {name: value for (name, _), value in zip(plan.objectives, trial.values, strict=True)}
    return {"trial": trial.number, **values, "varied": varied, "parameters": plan.parameters(varied)}


def _overhead(trials: list[FrozenTrial]) -> float | None:
    """Return mean seconds of a complete trial that its estimator did not train."""
    rest = [
        t.duration.total_seconds() - t.user_attrs[FIT_SECONDS]
        for t in trials
        if t.state is TrialState.COMPLETE and t.duration is not None and FIT_SECONDS in t.user_attrs
    ]
    return round(sum(rest) / len(rest), 2) if rest else None


def _plot_history(path: Path, study: Study, plan: Plan) -> None:
    """Draw the first objective of every complete trial, and the best so far."""
    name, direction = plan.objectives[0]
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values = [float(t.values[0]) for t in trials]
    figure = new_figure(7, 4)
    axes = figure.subplots()
    axes.plot([t.number for t in trials], values, "o", markersize=4, alpha=0.6, label="trials")
    best = [(max if direction == "maximize" else min)(values[: i + 1]) for i in range(len(values))]
    axes.step([t.number for t in trials], best, where="post", label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(name.replace("_", " "))
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title(study.study_name, loc="left", fontsize=10)
    save_figure(figure, path)


def _plot_slices(path: Path, study: Study, plan: Plan) -> None:
    """Draw the first objective over each parameter; late trials are darker."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = list(dict.fromkeys(name for t in trials for name in t.params))
    rows = -(-len(names) // SIDE_BY_SIDE)
    figure = new_figure(2.4 * min(SIDE_BY_SIDE, len(names)), 0.5 + 2.2 * rows)
    drawn = figure.subplots(rows, min(SIDE_BY_SIDE, len(names)), sharey=True, squeeze=False).ravel()
    for axes, name in zip(drawn, names, strict=False):
        own = [t for t in trials if name in t.params]
        given = [t.params[name] for t in own]
        choices = sorted({str(value) for value in given}, key=lambda word: (len(word), word))
        is_word = not all(isinstance(value, int | float) for value in given) or len(choices) <= FEW
        places = [choices.index(str(value)) for value in given] if is_word else given
        axes.scatter(places, [t.values[0] for t in own], c=[t.number for t in own], cmap="Blues", vmin=-10, s=14)
        if is_word:
            axes.set_xticks(range(len(choices)), choices)
            axes.margins(x=0.3)
        elif min(given) > 0 and max(given) > 20 * min(given):
            axes.set_xscale("log")
        axes.set_xlabel(name, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    for axes in drawn[len(names) :]:
        axes.set_axis_off()
    for first in drawn[:: min(SIDE_BY_SIDE, len(names))]:
        first.set_ylabel(plan.objectives[0][0].replace("_", " "), fontsize=9)
    save_figure(figure, path, study.study_name)


def _plot_importances(path: Path, shares: dict[str, float], title: str) -> None:
    """Draw the share that each parameter explains, the largest on top."""
    names = sorted(shares, key=shares.__getitem__)
    figure = new_figure(7, 1.2 + 0.35 * len(names))
    axes = figure.subplots()
    axes.barh(names, [shares[name] for name in names])
    axes.set_xlabel("share of the objective's variance (fANOVA)")
    axes.grid(alpha=0.3, axis="x")
    axes.set_title(title, loc="left", fontsize=10)
    save_figure(figure, path)
