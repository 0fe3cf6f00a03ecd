"""A search behind scikit-learn's interface."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from sklearn.model_selection._search import BaseSearchCV

from titans_seq.errors import DataError, TitansSeqWarning
from titans_seq.sweeps.samplers import OWN, SAMPLER, build_sampler, name_of
from titans_seq.sweeps.search import call_space
from titans_seq.sweeps.space import Space, SpaceFunction


class TitansSearchCV(BaseSearchCV):  # type: ignore[misc]
    """Search parameters of an estimator with Optuna, as GridSearchCV and RandomizedSearchCV do with theirs.

    `n_jobs` candidates are fitted side by side, and what they score decides which come next. For pruning, killed
    workers and several objectives there is `sweep`.

    Args:
        estimator: an estimator or a pipeline.
        space: parameter -> distribution of Optuna, list of choices, or text as "1:8" and "1e-4:1e-2:log"; or a function
            of a trial that returns a dict of parameters.
        n_trials: candidates.
        sampler: an object of Optuna, or a class by its name; None: TPESampler.
        storage: URL of a database, to look on with optuna-dashboard; None keeps the study in memory.
        random_state: seed of the search.
        scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score: as in
            `sklearn.model_selection.GridSearchCV`.

    Attributes:
        study_: Optuna's study.
        best_estimator_, best_params_, best_score_, best_index_, cv_results_, refit_time_, scorer_, n_splits_: as in
            GridSearchCV.

    Examples:
        >>> from titans_seq import TitansDNAClassifier
        >>> X, y = ["GCGC" * 5, "ATAT" * 5] * 10, ["rich", "poor"] * 10
        >>> model = TitansDNAClassifier(heads=1, motifs=8, max_epochs=1)
        >>> search = TitansSearchCV(model, {"dim": [8, 16]}, n_trials=2, cv=2).fit(X, y)
        >>> len(search.cv_results_["mean_test_score"]), sorted(search.best_params_)
        (2, ['dim'])
    """

    def __init__(
        self,
        estimator: Any,
        space: Mapping[str, Any] | SpaceFunction,
        *,
        n_trials: int = 20,
        sampler: str | BaseSampler | None = None,
        storage: str | None = None,
        random_state: int = 0,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: str = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        super().__init__(
            estimator=estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.space = space
        self.n_trials = n_trials
        self.sampler = sampler
        self.storage = storage
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search, and fit the best candidate to all data.

        Raises:
            DataError: a parameter of the search cannot be used.
            KeyboardInterrupt: after Ctrl-C; if candidates had been scored, the search is fitted with the best of them.
        """
        self._interrupted = False
        super().fit(X, y, **params)
        if self._interrupted:
            raise KeyboardInterrupt
        return self

    def _run_search(self, evaluate_candidates: Callable[[list[dict[str, Any]]], Mapping[str, Any]]) -> None:
        from joblib import effective_n_jobs

        if not isinstance(self.n_trials, int) or self.n_trials < 1:
            raise DataError(f"n_trials must be a whole number of at least 1, not {self.n_trials!r:.80}")
        space = None if callable(self.space) else Space.from_ranges(self.space)
        if space is not None and not space.parameters:
            raise DataError("the space is empty")
        self.study_ = study = self._create_study()
        ranges = None if space is None else dict(space.parameters)
        name = name_of(self.sampler, BaseSampler, SAMPLER)
        metric = f"mean_test_{self.refit if isinstance(self.refit, str) else 'score'}"
        done, side_by_side = 0, max(1, effective_n_jobs(self.n_jobs))
        scored, failure = False, None
        while done < self.n_trials:
            trials, chosen = [], []
            for number in range(done, min(done + side_by_side, self.n_trials)):
                own = self.sampler if name == OWN else build_sampler(name, self.random_state, number, space)
                study.sampler = own
                trials.append(study.ask(ranges))
                chosen.append(call_space(self.space, trials[-1]) if callable(self.space) else trials[-1].params)
            try:
                scores = evaluate_candidates(chosen)
            except KeyboardInterrupt:
                for trial in trials:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                if not scored:
                    raise
                self._interrupted = True
                warnings.warn(
                    f"interrupted after {done} candidates: the best of them counts", TitansSeqWarning, stacklevel=3
                )
                return
            except ValueError as error:
                if "fits failed" not in str(error) or self.error_score == "raise":
                    raise
                for trial in trials:  # a search goes on without them, as long as others can be fitted
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                done, failure = done + len(trials), error
                warnings.warn(f"no fit of {chosen} ended: {_last_line(error)}", TitansSeqWarning, stacklevel=3)
                continue
            scored = True
            found = scores.get(metric, scores[next(k for k in scores if k.startswith("mean_test_"))])
            for trial, value in zip(trials, found[-len(trials) :], strict=True):
                failed = not np.isfinite(value)
                study.tell(trial, None if failed else float(value), optuna.trial.TrialState.FAIL if failed else None)
            done += len(trials)
        if not scored and failure is not None:
            raise failure

    def _create_study(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if self.storage is None:
            return optuna.create_study(direction="maximize")
        from titans_seq.sweeps.storage import open_storage

        return optuna.create_study(direction="maximize", storage=open_storage(self.storage, None, fresh=True))


def _last_line(error: Exception) -> str:
    """Return what scikit-learn's report on failed fits ends with: the error itself."""
    return [line for line in str(error).splitlines() if line.strip()][-1]
