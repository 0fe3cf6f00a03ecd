"""The report on a study as one HTML page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from titans_seq.page import Section, write_html
from titans_seq.pipelines.output import short_text
from titans_seq.sweeps.best import rank
from titans_seq.sweeps.plan import Plan
from titans_seq.sweeps.reconcile import ERROR
from titans_seq.sweeps.worker import FIT_SECONDS, GIVEN_UP

SHOWN = 20
"""Rows of a table."""
MOST_AXES = 3
"""Objectives that a picture can show at once."""


def write_page(path: Path, study: Study, plan: Plan, result: dict[str, Any]) -> Path:
    """Write the report, and return its path.

    Args:
        result: what `summarize` returned, with `test` if there are held-back data.
    """
    finished = result["complete"] + result["pruned"]
    summary = (
        f"{result['domain']}, data {result['data']}: {finished} of {result['trials']} trials are finished "
        f"({result['complete']} complete, {result['pruned']} pruned, {result['failed']} failed, {result['lost']} lost "
        f"and tried again) in {result['fit_seconds']:.0f} seconds of training; sampler {plan.sampler}, pruner "
        f"{plan.pruner}, seed {plan.seed}."
    )
    best = result["best"]
    said = "No trial is complete yet." if best is None else f"Trial {best['trial']} is best: {_said(best, plan)}."
    for name, value in result.get("test", {}).items():
        said += f" Held-back data: {name.replace('_', ' ')} {value:.4g}."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sections = list(_sections(study, plan, result))
    return write_html(path, f"Sweep {study.study_name}", summary, said, sections)


def _sections(study: Study, plan: Plan, result: dict[str, Any]) -> Iterator[Section]:
    """Yield the parts of the report that the trials give."""
    trials = study.get_trials(deepcopy=False)
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    name = plan.objectives[0][0]
    target: Callable[[FrozenTrial], float] = lambda t: t.values[0]  # noqa: E731
    options = {"target": target, "target_name": name}
    draw = optuna.visualization
    many = [p for p in _parameters(complete) if len({repr(t.params[p]) for t in complete if p in t.params}) > 1]
    if complete:
        ranked = sorted(complete, key=lambda t: rank(t, plan))[:SHOWN]
        yield Section(title="Best trials", rows=_aligned([_row(t, plan) for t in ranked]))
        text, code = _winner(plan, result)
        yield Section(title="How to load the winner", text=text, code=code)
    if not plan.has_one_objective and complete:
        front = sorted(study.best_trials, key=lambda t: rank(t, plan))
        plot = None
        if len(plan.objectives) <= MOST_AXES:
            plot = draw.plot_pareto_front(study, target_names=[n for n, _ in plan.objectives])
        text = "No trial is better than one of these in every objective."
        rows = _aligned([_row(t, plan) for t in front[:SHOWN]])
        yield Section(title="Pareto front", text=text, rows=rows, plot=plot, width=320)
    if complete:
        history = {"target_name": name} if plan.has_one_objective else options  # with a target no line shows the best
        yield Section(title="History", plot=draw.plot_optimization_history(study, **history), width=320)
    if result["importances"]:
        text = (
            f"Share of the variance of {name} that each parameter explains (fANOVA, {len(complete)} complete trials). "
            "It says how much a parameter mattered within these ranges, not which value is good: see the slices."
        )
        yield Section(title="Importances", text=text, plot=_bars(result["importances"]), width=320)
    if len(complete) > 1 and many:
        plot = draw.plot_slice(study, params=many, **options)
        yield Section(title="Slices", plot=plot, width=max(320, 210 * len(many)))
    if len(complete) > 1 and len(many) > 1:
        plot = draw.plot_parallel_coordinate(study, params=many, **options)
        yield Section(title="Parallel coordinates", plot=plot, width=max(320, 110 * len(many)))
    if any(t.intermediate_values for t in trials):
        plot = draw.plot_intermediate_values(study)
        plot.update_layout(showlegend=False)
        plot.update_xaxes(title_text="epoch or split")
        plot.update_yaxes(title_text=name)
        yield Section(title="Learning curves", plot=plot, width=320)
    timed = [t for t in trials if FIT_SECONDS in t.user_attrs]
    if timed:
        yield Section(title="Seconds of training", plot=_seconds(timed), width=320)
    pruned = [t for t in trials if t.state is TrialState.PRUNED]
    if pruned:
        rows = [
            {"trial": str(t.number), "given up by": str(t.user_attrs.get(GIVEN_UP, ""))} | _cells(t) for t in pruned
        ]
        yield Section(title="Pruned trials", text=f"{len(pruned)} trials were given up.", rows=_aligned(rows[:SHOWN]))
    failed = [t for t in trials if ERROR in t.user_attrs]
    if failed:
        rows = [{"trial": str(t.number), "error": str(t.user_attrs[ERROR])} | _cells(t) for t in failed]
        yield Section(title="Failed trials", rows=_aligned(rows[:SHOWN]))


def _parameters(trials: list[FrozenTrial]) -> list[str]:
    """Return the names of all parameters, in the order in which they came."""
    return list(dict.fromkeys(name for t in trials for name in t.params))


def _said(best: dict[str, Any], plan: Plan) -> str:
    values = ", ".join(f"{name.replace('_', ' ')} {best[name]:.4g}" for name, _ in plan.objectives)
    return f"{values}, with " + ", ".join(f"{name}={short_text(value)}" for name, value in best["varied"].items())


def _row(trial: FrozenTrial, plan: Plan) -> dict[str, str]:
    values = {name: f"{v:.4g}" for (name, _), v in zip(plan.objectives, trial.values, strict=True)}
    seconds = trial.user_attrs.get(FIT_SECONDS)
    timed = {} if seconds is None or "seconds" in values else {"seconds": f"{seconds:.1f}"}
    return {"trial": str(trial.number)} | values | timed | _cells(trial)


def _cells(trial: FrozenTrial) -> dict[str, str]:
    return {name: short_text(value) for name, value in trial.params.items()}


def _aligned(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return rows that all have all columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, "") for name in names} for row in rows]


def _winner(plan: Plan, result: dict[str, Any]) -> tuple[str, str]:
    """Return text and code that tell how to get the best model."""
    best = result["best"]
    if plan.domain is None:
        code = f"estimator.set_params(**{best['varied']!r}).fit(X, y)"
        return "The result of sweep(...) has it as best_estimator_. To train it again:", code
    from titans_seq.domains.registry import find_domain

    module, _, kind = find_domain(plan.domain).estimator.partition(":")
    package = module.rpartition(".")[0]
    chosen = ", ".join(f"{name}={value!r}" for name, value in best["parameters"].items())
    code = (
        f"from {package} import {kind}\n\n"
        f'model = {kind}.load("model")  # the folder beside this page\n'
        f"model = {kind}({chosen})  # to train it again"
    )
    return "", code


def _bars(shares: dict[str, float]) -> Any:
    import plotly.graph_objects as go

    names = sorted(shares, key=shares.__getitem__)
    figure = go.Figure(go.Bar(x=[shares[n] for n in names], y=names, orientation="h"))
    return figure.update_layout(xaxis_title="share", height=120 + 32 * len(names))


def _seconds(trials: list[FrozenTrial]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for state in (TrialState.COMPLETE, TrialState.PRUNED):
        own = [t for t in trials if t.state is state]
        if own:
            seconds = [t.user_attrs[FIT_SECONDS] for t in own]
            figure.add_bar(x=[t.number for t in own], y=seconds, name=state.name.lower())
    return figure.update_layout(xaxis_title="trial", yaxis_title="seconds", height=320)
