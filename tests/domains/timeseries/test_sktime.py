"""The adapter to sktime, by some of sktime's own checks; all of them, `check_estimator`, take minutes."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime", reason="the extra sktime is not installed")

from sktime.utils.estimator_checks import check_estimator

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.domains.timeseries.sktime import TitansSktimeForecaster

SMALL = {"dim": 8, "layers": 1, "max_epochs": 1, "steps_per_epoch": 2, "verbose": False}
SOME = [
    "test_constructor",
    "test_clone",
    "test_predict_time_index_with_X",
    "test_predict_quantiles",
    "test_random_tags",
]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def test_its_own_checks():
    found = check_estimator(TitansSktimeForecaster, raise_exceptions=False, verbose=False, tests_to_run=SOME)
    wrong = {name: str(result)[:200] for name, result in found.items() if result != "PASSED"}
    assert len(found) >= 20
    assert not wrong


def test_it_is_the_forecaster_itself():
    index = pd.period_range("2015-01", periods=60, freq="M")
    y = pd.DataFrame({"a": np.sin(np.arange(60.0)), "b": np.cos(np.arange(60.0))}, index)
    X = pd.DataFrame({"a": np.arange(66.0) % 3}, pd.period_range("2015-01", periods=66, freq="M"))
    model = TitansSktimeForecaster(TitansForecaster(**SMALL)).fit(y, X=X.iloc[:60], fh=[2, 4])
    own = TitansForecaster(**SMALL, horizon=4, future_covariates=["x"]).fit(y, X.set_axis(["x"], axis=1))
    expected = own.predict(X.iloc[:64].set_axis(["x"], axis=1)).iloc[[1, 3]].astype(float)
    pd.testing.assert_frame_equal(model.predict(X=X.iloc[[61, 63]]), expected, rtol=1e-4)
    wide = model.predict_interval(X=X.iloc[60:64], coverage=[0.8, 0.98])
    assert (wide[("a", 0.98, "upper")] > wide[("a", 0.8, "upper")]).all()
    more = pd.concat([y, y.iloc[:2].set_axis(X.index[60:62])])
    model.update(more.iloc[58:], X=X.iloc[58:62])
    assert list(model.predict(X=X.iloc[62:66]).index) == list(X.index[[63, 65]])
