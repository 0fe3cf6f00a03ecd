"""What users' indices and columns hold comes back as it was: periods, whole numbers, nested names, other libraries."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.errors import DataError

SMALL = {"horizon": 4, "context": 12, "patch": 4, "dim": 8, "layers": 1, "max_epochs": 1, "steps_per_epoch": 2}
ROWS = 72
VALUES = np.sin(np.arange(ROWS + 8) / 2)[:, None] * [1.0, 2.0]
DAYS = pd.date_range("2024-01-01", periods=ROWS + 8, freq="D", name="day")
NESTED = pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["place", None])


def fit(y, **options):
    return TitansForecaster(**SMALL | options).fit(y)


@pytest.mark.parametrize(
    "index",
    [
        pd.period_range("2018-01", periods=ROWS + 8, freq="M", name="month"),
        pd.period_range("2023-01-02", periods=ROWS + 8, freq="W-SUN"),
        pd.RangeIndex(ROWS + 8),
        pd.Index(np.arange(1950, 1950 + 2 * (ROWS + 8), 2), name="year"),
    ],
    ids=["months", "weeks", "range", "every second year"],
)
def test_an_index_goes_on_as_it_is(index, tmp_path):
    y = pd.DataFrame(VALUES, index, ["a", "b"])
    model = fit(y.iloc[:ROWS])
    pd.testing.assert_index_equal(model.predict().index, index[ROWS : ROWS + 4], exact="equiv")
    assert model.calendar_ == (() if index.dtype == "int64" else model.calendar_)
    model.save(tmp_path / "model")
    again = TitansForecaster.load(tmp_path / "model").update(y.iloc[ROWS : ROWS + 2])
    pd.testing.assert_index_equal(again.predict().index, index[ROWS + 2 : ROWS + 6], exact="equiv")
    pd.testing.assert_frame_equal(again.predict(), model.update(y.iloc[ROWS : ROWS + 2]).predict())
    assert list(model.predict_quantiles(0.5).index) == list(model.predict().index)
    tested = model.backtest(y.iloc[:ROWS], cutoffs=[index[40], index[50]])
    assert set(tested["cutoff"]) == {index[40], index[50]}
    assert tested["ds"].iloc[0] == index[41]
    assert list(model.surprise(y.iloc[:ROWS]).index) == list(index[:ROWS])
    with pytest.raises(DataError, match=f"begin at {index[ROWS]}, but all up to {index[ROWS + 1]} is known"):
        again.update(y.iloc[ROWS:])
    with pytest.raises(DataError, match="the index holds times, that of fit"):
        again.update(y.iloc[ROWS:].set_axis(DAYS[ROWS:]))
    with pytest.raises(DataError, match=f"cutoff {index[ROWS + 6]} is a step of no series"):
        model.backtest(y.iloc[:ROWS], cutoffs=[index[ROWS + 6]])


def test_nested_names_of_columns_are_kept(tmp_path):
    y = pd.DataFrame(VALUES, DAYS, NESTED)
    model = fit(y.iloc[:ROWS])
    model.save(tmp_path / "model")
    for one in (model, TitansForecaster.load(tmp_path / "model")):
        pd.testing.assert_index_equal(one.predict().columns, NESTED)
        assert one.predict_quantiles([0.1, 0.9])[("y", 2, 0.9)].notna().all()
        assert set(one.backtest(y)["channel"]) == {"x/1", "y/2"}
        assert one.update(y.iloc[ROWS : ROWS + 1]).predict().index[0] == DAYS[ROWS + 1]
    numbered = fit(pd.DataFrame(VALUES, DAYS, [7, 3]).iloc[:ROWS])
    numbered.save(tmp_path / "numbered")
    assert list(TitansForecaster.load(tmp_path / "numbered").predict().columns) == [7, 3]


def test_frames_of_other_libraries_and_a_column_of_times():
    y = pd.DataFrame(VALUES, DAYS, ["a", "b"]).iloc[:ROWS]
    expected = fit(y).predict()
    for frame in (pa.table(y.reset_index()), y.reset_index()):
        pd.testing.assert_frame_equal(fit(frame).predict(), expected, check_index_type=False, check_freq=False)
    long = y.reset_index(names="ds").assign(unique_id="u")
    pd.testing.assert_frame_equal(fit(pa.table(long)).predict(), fit(long).predict(), check_dtype=False)


def test_rows_of_two_levels_are_a_long_frame():
    """Series and time, in this order or the other one; covariates the same way; a Series too."""
    wide = pd.DataFrame(VALUES, DAYS, ["a", "b"])
    long = wide.rename_axis(index="ds", columns="unique_id").unstack().rename("y").reset_index()
    levels = long.set_index(["unique_id", "ds"]).rename_axis(["shop", "day"])
    x = levels.rename(columns={"y": "signal"})

    def head(frame):
        return frame.groupby("shop").head(ROWS)

    expected = fit(long.groupby("unique_id").head(ROWS)).predict()
    for frame in (head(levels), head(levels).swaplevel(), head(levels)["y"]):
        pd.testing.assert_frame_equal(fit(frame).predict(), expected)
    model = TitansForecaster(**SMALL, future_covariates=("signal",)).fit(head(levels), head(x))
    behind = x.drop(head(x).index)
    assert list(model.predict(X=behind.groupby("shop").head(4))["unique_id"].unique()) == ["a", "b"]
    model.update(levels.drop(head(levels).index), behind)
    with pytest.raises(DataError, match=r"begin at .*, but all up to"):
        model.update(head(levels), head(x))
    with pytest.raises(DataError, match="two levels, and there are columns unique_id or ds"):
        fit(levels.assign(ds=1))


def test_whole_numbers_in_a_long_frame():
    one = pd.DataFrame({"unique_id": "u", "ds": range(ROWS), "y": VALUES[:ROWS, 0]})
    found = fit(pd.concat([one, one.iloc[:50].assign(unique_id="v")])).predict()
    assert found.groupby("unique_id")["ds"].first().to_dict() == {"u": ROWS, "v": 50}
    with pytest.raises(DataError, match="there is no calendar"):
        fit(one, calendar=["hour"])
