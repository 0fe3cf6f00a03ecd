"""Sample paths: the quantiles' values, in an order in time that errors have."""

import numpy as np
import pandas as pd
import pytest
import torch

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.domains.timeseries.levels import values_at
from titans_seq.errors import DataError

SMALL = {"horizon": 8, "context": 16, "patch": 4, "dim": 8, "layers": 1, "max_epochs": 2, "steps_per_epoch": 5}


def walks(rows=600):
    """Two random walks that share most of their steps."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(rows, 1)) + 0.3 * rng.normal(size=(rows, 2))
    return pd.DataFrame(steps.cumsum(0), pd.date_range("2024-01-01", periods=rows, freq="h"), ["a", "b"])


@pytest.fixture(scope="module")
def model():
    return TitansForecaster(**SMALL).fit(walks())


def test_quantiles_of_samples_are_the_quantiles(model):
    found = model.predict_samples(2000, seed=1)
    assert list(found.columns[:2]) == [("a", 1), ("a", 2)]
    wanted = model.predict_quantiles([0.1, 0.5, 0.9])
    spread = float((wanted[("a", 0.9)] - wanted[("a", 0.1)]).mean())
    for channel in "ab":
        for level in (0.1, 0.5, 0.9):
            got = found[channel].quantile(level, axis=1)
            assert float((got - wanted[(channel, level)]).abs().max()) < 0.15 * spread
    pd.testing.assert_frame_equal(found, model.predict_samples(2000, seed=1))
    assert not np.allclose(found, model.predict_samples(2000, seed=2))


def test_steps_and_channels_move_together(model):
    found = model.predict_samples(1000)
    a, b = (found[c].to_numpy() for c in "ab")
    assert np.corrcoef(a[3], a[4])[0, 1] > 0.7
    assert np.corrcoef(a[7], b[7])[0, 1] > 0.7
    assert np.diff(a, axis=0).std() < 0.8 * np.diff(np.random.default_rng(0).permuted(a, axis=1), axis=0).std()


def test_without_quantiles_and_in_a_long_frame():
    long = walks(300)[["a"]].rename_axis("ds").reset_index().assign(unique_id="u")
    found = TitansForecaster(**SMALL, quantiles=None).fit(long).predict_samples(3)
    assert list(found.columns) == ["unique_id", "ds", "a-sample-1", "a-sample-2", "a-sample-3"]
    assert found.notna().all(axis=None)
    with pytest.raises(DataError, match="count must be a whole number"):
        TitansForecaster(**SMALL).fit(long).predict_samples(0)


def test_values_between_and_beyond_levels():
    values = torch.tensor([[-1.0, 0.0, 2.0]]).expand(5, 3)
    shares = torch.tensor([0.1587, 0.2, 0.35, 0.5, 0.9772])
    found = values_at(values, (0.1587, 0.5, 0.8413), shares)
    expected = torch.tensor([-1.0, -1 + 0.0413 / 0.3413, -1 + 0.1913 / 0.3413, 0.0, 4.0])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-2)
