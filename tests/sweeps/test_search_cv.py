"""The search behind scikit-learn's interface."""

import warnings

import numpy as np
import optuna
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.sweeps.test_tune import DNA, X, Y
from titans_seq.errors import DataError, TitansSeqWarning
from titans_seq.sweeps import TitansSearchCV


@parametrize_with_checks(
    [TitansSearchCV(LogisticRegression(), {"C": "0.1:10.0:log"}, n_trials=2, cv=2, error_score="raise")]
)
def test_what_scikit_learn_asks_of_a_search(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def test_a_pipeline_with_two_scores_and_a_function():
    search = TitansSearchCV(
        Pipeline([("dna", DNA)]),
        lambda trial: {"dna__dim": 8 * trial.suggest_int("eighths", 1, 2)},
        n_trials=3, cv=2, scoring=["accuracy", "f1_macro"], refit="f1_macro", return_train_score=True,
    ).fit(X, Y)  # fmt: skip
    assert set(search.best_params_) == {"dna__dim"}
    assert search.predict(X[:2]).tolist() == ["rich", "poor"]
    assert len(search.cv_results_["mean_test_f1_macro"]) == len(search.study_.trials) == 3
    assert search.best_score_ == max(search.cv_results_["mean_test_f1_macro"])
    assert [t.value for t in search.study_.trials] == search.cv_results_["mean_test_f1_macro"].tolist()


def test_side_by_side_the_seed_decides():
    letters = np.array([[s.count(base) for base in "ACGT"] for s in X.tolist()], dtype=float)
    found = [
        TitansSearchCV(LogisticRegression(), {"C": "0.01:10.0:log"}, n_trials=4, cv=2, n_jobs=2, random_state=5)
        .fit(letters, Y).cv_results_["param_C"].tolist()
        for _ in range(2)
    ]  # fmt: skip
    assert found[0] == found[1]
    assert len(set(found[0])) == 4


class Stop(LogisticRegression):
    """Meets Ctrl-C at its fifth fit, as a user would press it."""

    fits = 0

    def fit(self, X, y):
        """Fit, or be interrupted."""
        Stop.fits += 1
        if Stop.fits == 5:
            raise KeyboardInterrupt
        return super().fit(X, y)


def test_ctrl_c_leaves_the_best_so_far():
    letters = np.array([[s.count(base) for base in "ACGT"] for s in X.tolist()], dtype=float)
    search = TitansSearchCV(Stop(), {"C": "0.01:10.0:log"}, n_trials=9, cv=2)
    with pytest.warns(TitansSeqWarning, match="interrupted after 2 candidates"), pytest.raises(KeyboardInterrupt):
        search.fit(letters, Y)
    assert search.score(letters, Y) == 1.0
    assert [t.state.name for t in search.study_.trials] == ["COMPLETE", "COMPLETE", "FAIL"]


def test_candidates_that_fail(tmp_path):
    url = f"sqlite:///{tmp_path / 's.db'}"
    search = TitansSearchCV(DNA, {"dim": [8, 9], "heads": [1, 2]}, n_trials=4, cv=2, sampler="GridSampler", storage=url)
    with pytest.warns(Warning, match="no fit of"):
        search.fit(X, Y)
    assert len(search.cv_results_["mean_test_score"]) == 3  # 2 heads do not divide 9
    (name,) = optuna.get_all_study_names(url)
    states = [t.state.name for t in optuna.load_study(study_name=name, storage=url).trials]
    assert sorted(states) == ["COMPLETE"] * 3 + ["FAIL"]
    with pytest.warns(TitansSeqWarning), pytest.raises(ValueError, match="All the 2 fits failed"):
        TitansSearchCV(DNA, {"dim": [9, 11], "heads": [2, 4]}, n_trials=2, cv=2).fit(X, Y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_trials": 0}, "n_trials must be"),
        ({"space": {}}, "the space is empty"),
        ({"space": {"dim": 3}}, "must be a distribution"),
        ({"sampler": "Best"}, "there is no sampler"),
        ({"storage": "mysql://a/b"}, "must be SQLite or PostgreSQL"),
    ],
)
def test_wrong_input(options, message):
    with pytest.raises(DataError, match=message):
        TitansSearchCV(**{"estimator": DNA, "space": {"dim": [8, 16]}, "cv": 2} | options).fit(X, Y)
