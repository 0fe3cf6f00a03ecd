"""scikit-learn's estimator checks, which feed numbers: an adapter turns them into text first; and its search."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from titans_seq.domains.language import TitansLM

SMALL = {"dim": 8, "layers": 1, "heads": 1, "window": 8, "chunk_size": 4, "context": 8, "batch_size": 2}


class OfNumbers(TitansLM):
    """Each number becomes a letter."""

    def fit(self, X, y=None):
        return super().fit(self.letters(validate_data(self, X, dtype="numeric")))

    def score(self, X, y=None):
        return super().score(self.letters(validate_data(self, X, dtype="numeric", reset=False)))

    @staticmethod
    def letters(X):
        return "".join(chr(97 + int(abs(value) * 10) % 26) for value in np.asarray(X, dtype=float).ravel()) + " " * 20


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks([OfNumbers(**SMALL, epoch_steps=1, max_epochs=1)])
def test_estimator(estimator, check):
    check(estimator)


def test_a_search_chooses_the_better_model():
    """`score` is higher for better models; a list of texts is split by scikit-learn."""
    texts = [f"{word} and {word} again, then {word}. " * 4 for word in ("one", "two", "ten", "six", "nine", "four")]
    model = TitansLM(**SMALL | {"dim": 16}, epoch_steps=40, max_epochs=1)
    search = GridSearchCV(model, {"learning_rate": [1e-6, 1e-2]}, cv=2).fit(texts)
    assert search.best_params_ == {"learning_rate": 1e-2}
    assert search.best_score_ < 0
