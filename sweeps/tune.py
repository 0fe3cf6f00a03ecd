"""Sweeps from Python."""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from sklearn.base import clone

from titans_seq.domains.registry import domain_of, find_domain
from titans_seq.errors import DataError
from titans_seq.files import digest
from titans_seq.sweeps.objectives import check_titans, find_objectives
from titans_seq.sweeps.plan import Plan, make_plan
from titans_seq.sweeps.result import SweepResult, copy_to_memory
from titans_seq.sweeps.run import Sweep
from titans_seq.sweeps.samplers import NONE, OWN, PRUNER, SAMPLER, build_pruner, build_sampler, name_of
from titans_seq.sweeps.search import Search
from titans_seq.sweeps.space import Space, SpaceFunction
from titans_seq.sweeps.storage import resolve_url, translate_storage_errors
from titans_seq.sweeps.trainable import EstimatorTrainable, TaskTrainable, make_splits
from titans_seq.tracking import OFF


def sweep(
    what: Any,
    data: Any = None,
    space: Mapping[str, Any] | SpaceFunction | None = None,
    *,
    trials: int = 40,
    workers: int = 1,
    storage: str | None = None,
    sampler: str | BaseSampler | None = None,
    pruner: str | BasePruner | None = None,
    objectives: Sequence[Any] | None = None,
    cv: Any = None,
    scoring: Any = None,
    groups: Any = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    fixed: Mapping[str, Any] | None = None,
    refit: bool = True,
    isolate: bool = False,
    study: str | None = None,
    resume: bool = False,
    output: Path | str | None = None,
    force: bool = False,
    tracking_uri: str | None = OFF,
    register: str | None = None,
    max_failures: int = 5,
    max_retries: int = 3,
    heartbeat: int = 10,
    verbose: bool | None = None,
    **options: Any,
) -> SweepResult:
    """Search hyper-parameters of an estimator on data in memory, or of a domain on a file.

    Args:
        what: an estimator, a scikit-learn Pipeline that ends in one (parameters are then named `STEP__NAME`), or the
            name of a domain: timeseries, genomics, language.
        data: what `fit` takes: one object, or a tuple of them such as (X, y); of a domain, a path, or None for the
            embedded data.
        space: parameter -> distribution of Optuna, list of choices, or text as "1:8" and "1e-4:1e-2:log"; or a function
            of a trial that returns a dict of parameters. None: the domain's own.
        trials: finished trials, complete or pruned, of the whole study.
        workers: 1 works in this process; more are processes of their own, replaced when something kills them.
        isolate: give a single worker a process of its own too.
        storage: sqlite:///FILE or postgresql://..., to go on later by `resume`, with other machines, or to look on
            with optuna-dashboard; None keeps the study in memory.
        sampler: an object of Optuna, or a class by its name; None: TPESampler.
        pruner: likewise; None: MedianPruner, or none with a `cv`, whose splits differ more than trials do.
        objectives: names among val_loss, seconds, n_parameters and state_bytes, functions of a fitted estimator whose
            value is to be low, or `Objective`s; with several, `pareto` has the front and the first one names the best.
        cv: splits that judge a trial by its mean score, as `sklearn.model_selection.cross_validate` takes them; None:
            the validation loss of the estimator.
        scoring: with cv, as `cross_validate` takes it; None: the estimator's `score`.
        groups: with cv, for splitters that need them.
        test_fraction: of a domain's data, the share that no trial sees and that scores the best model.
        seed: of the search; of a domain also of weights, batches and splits.
        fixed: parameters that are the same in every trial.
        refit: return the best model: kept, or trained again on all data.
        study: name; None: the domain's or the estimator's.
        resume: go on with a study of that name.
        output: folder for metrics.json, trials.csv, pictures, report.html and the model.
        force: overwrite earlier results there.
        tracking_uri: an MLflow server or database; None: MLFLOW_TRACKING_URI, or mlflow.db here.
        register: name, or NAME@ALIAS, that the best model gets in MLflow's registry.
        max_failures: failed trials in a row that end the study.
        max_retries: times that the parameters of a killed trial are tried again.
        heartbeat: seconds between signs of life of a trial; after three without, it counts as dead.
        verbose: show progress; None: in a terminal.
        options: of the domain's task, such as horizon.

    Returns:
        what was found; after Ctrl-C what was found until then, with a warning, if a trial is complete.

    Raises:
        DataError: wrong input.
        StorageError: the storage cannot be reached, or was lost.
        SweepError: the name is in use, the study is of another plan, trials failed in a row, or workers kept dying.

    Examples:
        >>> from titans_seq import TitansDNAClassifier
        >>> X, y = ["GCGC" * 5, "ATAT" * 5] * 10, ["rich", "poor"] * 10
        >>> model = TitansDNAClassifier(heads=1, motifs=8, max_epochs=1)
        >>> found = sweep(model, (X, y), {"dim": [8, 16], "learning_rate": "1e-3:1e-2:log"}, trials=2)
        >>> sorted(found.best_params_), len(found.trials)
        (['dim', 'learning_rate'], 2)
    """
    for given, said_as in ((trials, "trials"), (workers, "workers")):
        if not isinstance(given, int) or given < 1:
            raise DataError(f"{said_as} must be at least 1, not {given!r:.80}")
    common = {
        "sampler": name_of(sampler, BaseSampler, SAMPLER),
        "pruner": name_of(pruner, BasePruner, PRUNER if cv is None else NONE),
        "trials": trials,
        "seed": seed,
        "max_failures": max_failures,
        "max_retries": max_retries,
        "heartbeat": heartbeat,
    }
    own: dict[str, Any] = {
        "space": space if callable(space) else None,
        "sampler": sampler if isinstance(sampler, BaseSampler) else None,
        "pruner": pruner if isinstance(pruner, BasePruner) else None,
    }
    ranges = None if callable(space) else Space.from_ranges(space or {})
    chosen = find_objectives(objectives, cv is not None)
    common["objectives"] = tuple((o.name, o.direction) for o in chosen)
    if isinstance(what, str):
        if cv is not None or scoring is not None or groups is not None:
            raise DataError("cv, scoring and groups need an estimator, not the name of a domain")
        find_domain(what)
        if data is not None and not isinstance(data, str | Path):
            raise DataError(f"the domain {what} reads a file: data must be its path, not {type(data).__name__}")
        path = None if data is None else Path(data)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            plan, task = make_plan(
                what, path, ranges, options, test_fraction=test_fraction, fixed=dict(fixed or {}), **common
            )
        trainable: Any = TaskTrainable(task, chosen)
    else:
        said = []
        if options:
            raise DataError(f"sweep has no option {min(options)!r:.80}")
        plan, trainable = _plan_estimator(what, data, ranges, fixed or {}, common, chosen, cv, scoring, groups)
    for warning in said:
        warnings.warn(warning.message, stacklevel=2)
    plan.check(trainable.build, 1000 if plan.domain else 1)  # only a domain's task knows values, others names
    _check_names(plan)
    name = (plan.domain or str(plan.estimator).lower()) if study is None else study
    shown = sys.stderr.isatty() if verbose is None else verbose
    with tempfile.TemporaryDirectory() as place, translate_storage_errors():
        url = f"sqlite:///{place}/sweep.db" if storage is None else storage
        planned = Sweep(
            plan,
            Search(trainable, **own),
            name,
            resolve_url(url).render_as_string(hide_password=False),
            0 if workers == 1 and not isolate else workers,
            resume,
            refit,
            None if output is None else Path(output),
            force,
            tracking_uri,
            register,
            shown,
            frozenset(str(warning.message) for warning in said),
        )
        found, summary, model = planned.run()
        return SweepResult(copy_to_memory(found, plan), summary, model, plan)


def _plan_estimator(
    estimator: Any,
    data: Any,
    ranges: Space | None,
    fixed: Mapping[str, Any],
    common: dict[str, Any],
    objectives: Any,
    cv: Any,
    scoring: Any,
    groups: Any,
) -> tuple[Plan, EstimatorTrainable]:
    """Return the plan for an estimator, and what its trials train."""
    if not hasattr(estimator, "get_params") or not hasattr(estimator, "fit") or isinstance(estimator, type):
        raise DataError(f"an estimator or the name of a domain is needed, not {estimator!r:.80}")
    if data is None:
        raise DataError("data are needed: what fit takes")
    if ranges is not None and not ranges.parameters:
        own = domain_of(type(estimator).__name__)
        if own is None:
            raise DataError("a space is needed: parameters and what each may be")
        ranges = Space.from_ranges({name: text for name, text in own.space.items() if name not in fixed})
    known = estimator.get_params()
    if unknown := set(fixed) - set(known):
        raise DataError(f"{type(estimator).__name__} has no parameter {min(unknown)!r:.80}; see get_params()")
    estimator = clone(estimator).set_params(**fixed)
    arguments = data if isinstance(data, tuple) else (data,)
    if cv is None:
        check_titans(estimator)
        if scoring is not None or groups is not None:
            raise DataError("scoring and groups need cv")
    splits = None if cv is None else make_splits(cv, estimator, arguments, groups)
    if ranges is not None:
        ranges = ranges.as_floats({name for name, value in known.items() if isinstance(value, float)})
    content = [digest(a) if isinstance(a, Path) else joblib.hash(a) for a in arguments]
    plan = Plan(
        estimator=type(estimator).__name__,
        data_digest=joblib.hash([content, repr(estimator), repr(scoring), splits]),
        space=None if ranges is None else ranges.to_dict(),
        **common,
    )
    return plan, EstimatorTrainable(estimator, arguments, objectives, splits, scoring)


def _check_names(plan: Plan) -> None:
    """Raise DataError unless sampler and pruner can be made of their names."""
    if plan.sampler != OWN:
        build_sampler(plan.sampler, plan.seed, 0, plan.ranges)
    if plan.pruner != OWN:
        build_pruner(plan.pruner)
