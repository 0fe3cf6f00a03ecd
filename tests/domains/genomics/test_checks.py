"""scikit-learn's estimator checks. They feed numbers, so an adapter turns columns of numbers into letters first."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from titans_seq.domains.genomics import TitansDNAClassifier

SMALL = {"dim": 8, "heads": 1, "motifs": 8, "motif_width": 4, "pool": 1, "sections": 0, "kmer_size": 1, "chunk_size": 4}


class OfNumbers(TitansDNAClassifier):
    """Each number becomes eight letters by its size, A for the lowest quarter of a range from -3 to 3."""

    def fit(self, X, y):
        X, y = validate_data(self, X, y, dtype="numeric", ensure_min_samples=2)
        return super().fit(self.letters(X), y)

    def predict_logits(self, X):
        check_is_fitted(self, "network_")
        return super().predict_logits(self.letters(validate_data(self, X, dtype="numeric", reset=False)))

    def transform(self, X):
        check_is_fitted(self, "network_")
        return super().transform(self.letters(validate_data(self, X, dtype="numeric", reset=False)))

    @staticmethod
    def letters(X):
        steps = np.clip((np.asarray(X, dtype=float) + 3) / 6 * 4, 0, 3.999)
        levels = (steps[..., None] + np.arange(8) / 8).clip(0, 3.999).astype(int)
        return ["".join("ACGT"[level] for level in row) for row in levels.reshape(len(levels), -1)]


EXPECTED = {
    "check_methods_subset_invariance": "float32: batches of other sizes differ by less than 1e-6, the check wants 1e-7",
}
"""Check -> why it fails."""


def small():
    return OfNumbers(**SMALL, strand="given", max_epochs=4, batch_size=16, learning_rate=2e-2, letter_dropout=0.0)


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks([small()], expected_failed_checks=lambda estimator: EXPECTED)
def test_estimator(estimator, check):
    check(estimator)
