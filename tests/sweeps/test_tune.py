"""Sweeps from Python: estimators, pipelines, functions as spaces, own samplers, pruners and objectives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, TimeSeriesSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from tests.sweeps.conftest import trials, wait_for
from titans_seq import TitansDNAClassifier, TitansForecaster
from titans_seq.errors import DataError, SweepError, TitansSeqWarning
from titans_seq.sweeps import Objective, sweep

X = np.array(["GCGCGGCC" * 3, "ATATTTAA" * 3] * 20)
Y = np.array(["rich", "poor"] * 20)
DNA = TitansDNAClassifier(dim=8, heads=1, motifs=8, max_epochs=2, batch_size=16)
SPACE = {"dim": [8, 16], "learning_rate": FloatDistribution(1e-3, 1e-2, log=True), "memory_depth": "1:2"}


def by_function(trial):
    """A width that depends on the depth."""
    depth = trial.suggest_int("depth", 1, 2)
    return {"memory_depth": depth, "dim": 8 * trial.suggest_int("eighths", 1, 2) if depth == 2 else 8}


def accuracy_lost(model):
    """An objective of a user's own."""
    return 1.0 - model.score(X, Y)


def test_an_estimator_and_its_data():
    found = sweep(DNA, (X, Y), SPACE, trials=4, seed=3)
    assert set(found.best_params_) == {"dim", "learning_rate", "memory_depth"}
    assert (found.trials["state"] == "COMPLETE").sum() == 4
    assert found.best_value_ == found.trials["val_loss"].min()
    best = found.best_estimator_
    assert best.get_params() | found.best_params_ == best.get_params()
    assert best.history_.lowest == pytest.approx(found.best_value_)
    assert len(best.predict(X)) == 40
    assert isinstance(found.study, optuna.Study)
    assert found.study.best_value == found.best_value_
    assert set(found.importances) == set(SPACE)
    again = sweep(DNA, (X, Y), SPACE, trials=4, seed=3, refit=False)
    columns = ["val_loss", "dim", "learning_rate", "memory_depth"]
    pd.testing.assert_frame_equal(again.trials[columns], found.trials[columns])
    assert again.best_estimator_ is None


def test_the_domains_own_space_is_the_default():
    found = sweep(DNA, (X, Y), trials=1, fixed={"heads": 1}, refit=False)
    assert {"variant", "memory_depth", "chunk_size", "momentum", "forget", "dim"} <= set(found.best_params_)


def test_a_forecaster_reads_a_frame_and_a_language_model_a_text():
    from titans_seq import TitansLM

    days = pd.date_range("2024-01-01", periods=120, freq="D")
    y = pd.DataFrame({"a": np.sin(np.arange(120) * 2 * np.pi / 7)}, index=days)
    model = TitansForecaster(horizon=7, heads=1, layers=1, max_epochs=1, steps_per_epoch=3)
    found = sweep(model, y, {"dim": [8, 16]}, trials=2)
    assert found.best_estimator_.predict().shape == (7, 1)
    splits = TimeSeriesSplit(2, test_size=20)
    found = sweep(model, y, {"dim": [8, 16]}, trials=2, cv=splits)
    assert {"score", "split0_score", "split1_score", "std_score"} <= set(found.trials)
    model = TitansLM(dim=16, layers=1, heads=2, context=16, epoch_steps=2, max_epochs=1)
    found = sweep(
        model, "to be or not to be, that is the question. " * 20, {"learning_rate": "1e-3:1e-2:log"}, trials=1
    )
    assert found.best_estimator_.bits_per_byte("to be") > 0


def test_a_function_of_a_trial_and_several_objectives():
    objectives = ["val_loss", "seconds", "n_parameters", "state_bytes", accuracy_lost]
    found = sweep(DNA, (X, Y), by_function, trials=3, objectives=objectives)
    names = ["val_loss", "seconds", "n_parameters", "state_bytes", "accuracy_lost"]
    assert set(names) <= set(found.trials)
    best = found.best_estimator_
    row = found.trials[found.trials["val_loss"] == found.best_value_].iloc[0]
    assert row["n_parameters"] == sum(p.numel() for p in best.network_.parameters())
    assert found.best_params_["dim"] == best.dim
    assert set(found.best_params_) == {"memory_depth", "dim"}  # the estimator's names, not the trial's
    front = found.pareto
    assert 1 <= len(front) <= 3
    for _, one in front.iterrows():  # no other is at least as good in all and better in one
        others = found.trials[names] <= one[names]
        assert not (others.all(axis=1) & (found.trials[names] < one[names]).any(axis=1)).any()
    smallest = sweep(DNA, (X, Y), {"dim": [8, 16, 32]}, trials=3, objectives=["n_parameters"], sampler="GridSampler")
    assert smallest.best_params_ == {"dim": 8}
    largest = Objective("width", lambda model: model.dim, maximize=True)
    found = sweep(DNA, (X, Y), {"dim": [8, 16, 32]}, trials=3, objectives=largest, sampler="GridSampler")
    assert found.best_params_ == {"dim": 32}


def test_pipelines_splits_and_groups():
    pipeline = Pipeline([("upper", FunctionTransformer(np.char.upper)), ("dna", DNA)])
    found = sweep(pipeline, (X, Y), {"dna__dim": [8, 16]}, trials=2)
    assert found.best_estimator_.predict(np.char.lower(X[:2])).tolist() == ["rich", "poor"]
    groups = np.arange(40) // 4
    found = sweep(
        pipeline, (X, Y), {"dna__dim": [8, 16]}, trials=2, cv=GroupKFold(3), groups=groups, scoring="f1_macro"
    )
    row = found.trials.iloc[0]
    assert row["score"] == pytest.approx(np.mean([row[f"split{k}_score"] for k in range(3)]))
    letters = np.array([[s.count(base) for base in "ACGT"] for s in X.tolist()])
    found = sweep(LogisticRegression(), (letters, Y), {"C": "0.01:10.0:log"}, trials=3, cv=2)
    assert found.best_value_ == 1.0
    assert found.best_estimator_.score(letters, Y) == 1.0


class GiveUpAll(optuna.pruners.BasePruner):
    """Gives up every trial but the first at its first step."""

    def prune(self, study, trial):
        """Return whether to give up."""
        return trial.number > 0


def test_samplers_and_pruners_of_ones_own(place, capsys):
    url = f"sqlite:///{place / 'own.db'}"
    found = sweep(
        DNA, (X, Y), SPACE, trials=3, sampler=optuna.samplers.RandomSampler(seed=1), pruner=GiveUpAll(), storage=url
    )  # fmt: skip
    assert found.trials["state"].tolist() == ["COMPLETE", "PRUNED", "PRUNED"]
    assert found.plan.sampler == found.plan.pruner == "own"
    from titans_seq.cli import execute

    options = ["--study", "titansdnaclassifier", "--storage", url]
    assert execute(["sweep", "status", *options]) == 0
    assert "trial 2 by GiveUpAll at step 0" in " ".join(capsys.readouterr().out.split())
    assert execute(["sweep", "worker", *options]) == 2
    assert "only that program can go on with it" in capsys.readouterr().err
    with pytest.raises(SweepError, match="already"):
        sweep(DNA, (X, Y), SPACE, trials=3, storage=url)
    more = sweep(DNA, (X, Y), SPACE, trials=4, sampler=optuna.samplers.RandomSampler(), pruner=GiveUpAll(),
                 storage=url, resume=True, refit=False)  # fmt: skip
    assert len(more.trials) == 4
    with pytest.raises(SweepError, match="data_digest"):
        sweep(DNA, (X[::-1], Y), SPACE, trials=5, sampler=optuna.samplers.RandomSampler(), pruner=GiveUpAll(),
              storage=url, resume=True)  # fmt: skip


def test_a_domain_by_its_name(wave_file, place):
    small = {"layers": 1, "heads": 1, "dim": 8, "max_epochs": 1, "steps_per_epoch": 3}
    found = sweep("timeseries", wave_file, {"chunk_size": [4, 8]}, trials=2, horizon=8, fixed=small, output="out")
    assert 0 < found.summary["test"]["mse"] < 2
    assert {p.name for p in (place / "out").iterdir()} >= {"metrics.json", "trials.csv", "report.html", "model"}
    assert found.plan.is_open


@pytest.mark.slow
def test_workers_get_what_only_this_process_has():
    """Functions, objects and data in memory, in two processes; the same trials as in one."""
    pipeline = Pipeline([("upper", FunctionTransformer(lambda x: np.char.upper(x))), ("dna", DNA)])
    space = lambda trial: {"dna__dim": 8 * trial.suggest_int("eighths", 1, 2)}  # noqa: E731
    found = sweep(pipeline, (X, Y), space, trials=4, workers=2)
    assert (found.trials["state"] == "COMPLETE").sum() == 4
    assert found.best_estimator_.score(X, Y) == 1.0


INTERRUPTED = """
import sys
sys.path.insert(0, {root!r})
from tests.sweeps.test_tune import *
if __name__ == "__main__":
    model = DNA.set_params(max_epochs=8)
    found = sweep(model, (X, Y), SPACE, trials=500, workers={workers}, storage={url!r}, study="s", heartbeat=1)
    print("complete", found.summary["complete"], found.best_estimator_ is not None, found.summary["interrupted"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_returns_what_was_found(workers, place):
    url = f"sqlite:///{place / 's.db'}"
    from titans_seq.sweeps.storage import open_storage

    open_storage(url, fresh=True)
    root = str(Path(__file__).parents[2])
    (place / "script.py").write_text(INTERRUPTED.format(root=root, workers=workers, url=url))
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip
    try:
        wait_for(lambda: process.poll() is not None or sum(t.value is not None for t in trials(url, "s")) >= 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 0, err
    word, complete, has_model, interrupted = out.split()
    assert (word, has_model, interrupted) == ("complete", "True", "True")
    assert int(complete) >= 2
    assert "interrupted after" in err


@pytest.mark.filterwarnings("ignore:.*training sequences stand in")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"what": LogisticRegression(), "space": {}, "cv": 2}, "a space is needed"),
        ({"space": {"label_smoothing": "0.0:0.5"}}, "it can be set, not varied"),
        ({"space": {"width": [1, 2]}}, "no parameter 'width'"),
        ({"space": {"dim": 8}}, "must be a distribution"),
        ({"space": {"dim": [8]}}, "one value is nothing to search"),
        ({"space": {"dim": [8, [1]]}}, "choices must be numbers"),
        ({"space": {"random_state": "0:3"}}, "it can be set, not varied"),
        ({"what": TitansDNAClassifier}, "an estimator or the name of a domain"),
        ({"what": 3}, "an estimator or the name of a domain"),
        ({"what": LogisticRegression()}, "keeps no validation loss: give cv"),
        ({"what": "music"}, "domain must be one of"),
        ({"what": "genomics"}, "data must be its path"),
        ({"what": "genomics", "data": None, "cv": 2}, "need an estimator"),
        ({"data": None}, "data are needed"),
        ({"sampler": "Best"}, "there is no sampler 'Best'; Optuna has"),
        ({"sampler": "PartialFixedSampler"}, "give an object"),
        ({"pruner": "Best"}, "there is no pruner 'Best'"),
        ({"pruner": "PatientPruner"}, "give an object"),
        ({"objectives": ["speed"]}, "an objective is one of"),
        ({"objectives": ["seconds", "seconds"]}, "must differ"),
        ({"objectives": ["seconds"], "cv": 2}, "score"),
        ({"scoring": "f1"}, "need cv"),
        ({"cv": GroupKFold(2)}, "cv cannot split the data"),
        ({"trials": 0}, "trials must be at least 1"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"horizon": 3}, "sweep has no option 'horizon'"),
        ({"fixed": {"width": 3}}, "no parameter 'width'"),
        ({"what": "genomics", "data": None, "fixed": {"class_weight": object()}}, "must be plain values"),
        ({"register": "a/b"}, "a registered name reads"),
        ({"register": "a"}, "--tracking-uri is off"),
    ],
)
def test_wrong_input(options, message):
    given = {"what": DNA, "data": (X, Y), "space": SPACE, "trials": 1} | options
    with pytest.raises(DataError, match=message):
        sweep(given.pop("what"), given.pop("data"), given.pop("space"), **given)


def test_errors_of_trials_end_the_sweep_with_their_reason():
    with pytest.raises(SweepError, match=r"2 trials failed in a row, the last one .1. with: .*no numbers today"):
        sweep(DNA, (X, Y), SPACE, trials=9, max_failures=2, objectives=lambda model: _raise())
    with pytest.raises(SweepError, match="the space must return a dict"):
        sweep(DNA, (X, Y), lambda trial: trial.suggest_int("dim", 1, 2), trials=9, max_failures=1)
    with pytest.raises(SweepError, match="must go to other processes"):
        sweep(DNA, (X, Y), SPACE, trials=2, workers=2, objectives=Objective("o", _Unpicklable()))


def _raise():
    raise ValueError("no numbers today")


class _Unpicklable:
    def __call__(self, model):
        return 0.0

    def __reduce__(self):
        raise TypeError("stays here")


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_an_interrupted_trial_is_no_attempt(place):
    from titans_seq.sweeps.plan import Plan
    from titans_seq.sweeps.reconcile import ATTEMPT, INTERRUPTED, reconcile
    from titans_seq.sweeps.storage import open_storage
    from titans_seq.sweeps.study import store_plan

    storage = open_storage(f"sqlite:///{place / 's.db'}", fresh=True)
    study = store_plan(storage, "s", Plan(estimator="E"))
    for attempt in range(3):
        trial = study.ask({"dim": FloatDistribution(0, 1)})
        trial.set_user_attr(INTERRUPTED, True)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        (waiting,) = (t for t in reconcile(study, max_retries=0) if t.state is optuna.trial.TrialState.WAITING)
        assert waiting.user_attrs[ATTEMPT] == 0, attempt


def test_warnings_of_the_data_are_said_once(place):
    """By this process and by its workers."""
    rng = np.random.default_rng(0)
    letters = ["".join(rng.choice(list("GGCA" if k < 30 else "AATC"), 40)) for k in range(60)]  # sorted by class
    pd.DataFrame({"sequence": letters, "label": ["ab"[k < 30] for k in range(60)]}).to_csv(
        place / "dna.csv", index=False
    )
    fixed = {"heads": 1, "motifs": 8, "max_epochs": 1}
    with pytest.warns(TitansSeqWarning) as said:
        sweep("genomics", place / "dna.csv", {"dim": [8, 16]}, trials=1, isolate=True, fixed=fixed)
    texts = [str(w.message) for w in said]
    assert len(texts) == len(set(texts)) == 1
