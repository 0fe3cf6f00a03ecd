"""New observations, taken in without training."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.domains.timeseries.panel import to_panel
from titans_seq.errors import DataError

SMALL = {"horizon": 6, "context": 24, "dim": 16, "layers": 1, "max_epochs": 1, "batch_size": 64, "patch": 12}


def grid(waves):
    """All hours, NaN where one is left out."""
    return waves.asfreq("h")


def stacked(waves):
    frame = grid(waves).rename_axis("ds").reset_index()
    return pd.concat([frame.assign(unique_id="x"), frame.assign(unique_id="y", a=frame["a"] + 9)], ignore_index=True)


@pytest.fixture(scope="module")
def folder(waves, tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    TitansForecaster(**SMALL).fit(grid(waves).iloc[:300]).save(path / "wide")
    long = stacked(waves)
    TitansForecaster(**SMALL).fit(long[long["ds"] < grid(waves).index[300]]).save(path / "long")
    return path


def test_update_is_as_if_all_had_been_known(folder, waves):
    model, at_once = (TitansForecaster.load(folder / "wide") for _ in range(2))
    weights = {n: t.clone() for n, t in model.network_.state_dict().items()}
    frame = grid(waves)
    first = model.predict()
    for start, stop in ((300, 301), (301, 303), (303, 340)):  # one row, a few, more than the context
        model.update(frame.iloc[start:stop])
        at_once.observe_panel(to_panel(frame.iloc[:stop]))
        forecast = model.predict()
        pd.testing.assert_frame_equal(forecast, at_once.predict(), rtol=1e-4, atol=1e-5)
        assert forecast.index[0] == frame.index[stop]
    assert not np.allclose(forecast, first)
    assert len(model.panel_.series[0].index) < 120, "it does not grow"
    assert all(torch.equal(t, weights[n]) for n, t in model.network_.state_dict().items()), "nothing is trained"


def test_update_goes_with_the_model(folder, waves, tmp_path):
    model = TitansForecaster.load(folder / "wide").update(grid(waves).iloc[300:310])
    model.save(tmp_path / "model")
    loaded = TitansForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.predict(), model.predict(), check_exact=True)
    assert loaded.update(grid(waves).iloc[310:311]).predict().index[0] == grid(waves).index[311]


def test_long_frames_may_leave_series_out(folder, waves):
    model = TitansForecaster.load(folder / "long")
    before = model.predict().groupby("unique_id")
    long = stacked(waves)
    new = long[(long["unique_id"] == "y") & (long["ds"] >= grid(waves).index[300])].iloc[:5]
    after = model.update(new[["b", "ds", "a", "unique_id"]]).predict().groupby("unique_id")
    pd.testing.assert_frame_equal(after.get_group("x"), before.get_group("x"), rtol=1e-5)
    assert after.get_group("y")["ds"].iloc[0] == grid(waves).index[305]
    assert abs(after.get_group("y")["a"].mean() - 9) < 2


def test_missing_values_and_a_calendar(waves):
    months = pd.date_range("2000-01-31", periods=90, freq="ME")
    frame = pd.DataFrame({"a": np.sin(np.arange(90) * np.pi / 6)}, index=months)
    model = TitansForecaster(**SMALL | {"max_epochs": 1}).fit(frame.iloc[:80])
    frame.iloc[80:83] = np.nan
    assert model.update(frame.iloc[80:85]).predict().index[0] == months[85]
    assert np.isfinite(model.predict()).all(axis=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.iloc[::-1], "not in order: sort them"),
        (lambda f: f.iloc[1:], "1 steps are left out before 2024-01-13 13:00:00: give them as rows of NaN"),
        (lambda f: f.drop(f.index[2:4]), "2 steps are left out before 2024-01-13 16:00:00"),
        (lambda f: f.set_axis(f.index + pd.Timedelta("9000D")), "more than 10000 steps are left out"),
        (lambda f: f.set_axis(f.index - pd.Timedelta("2h")), "begin at 2024-01-13 10:00:00, but all up to"),
        (lambda f: f.set_axis(f.index - pd.Timedelta("30min")), "11:30:00 is no step of the frequency h"),
        (lambda f: f.resample("30min").ffill(), "12:30:00 is no step of the frequency h: 2024-01-13 13:00:00 comes"),
        (lambda f: f[["a"]], "column 'b' is missing; there are a"),
        (lambda f: f.assign(c=1.0), "column 'c' is unknown: the model was fitted on a, b"),
        (lambda f: f.tz_localize("UTC"), "time zone UTC, those of fit in None"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.assign(a=np.inf), "infinite"),
        (lambda f: f.assign(a="x"), "text"),
        (lambda f: f.set_axis(f.index[[0, 0, *range(2, 10)]]), "stand twice"),
        (lambda f: f.rename_axis("ds").reset_index().assign(unique_id="x"), "a wide frame is needed"),
        (lambda f: f.to_numpy(), "a frame of pandas, polars or pyarrow, not ndarray"),
    ],
)
def test_wrong_rows(folder, waves, change, message):
    model = TitansForecaster.load(folder / "wide")
    before = model.predict()
    with pytest.raises(DataError, match=message):
        model.update(change(grid(waves).iloc[300:310]))
    pd.testing.assert_frame_equal(model.predict(), before, check_exact=True)


def test_unknown_series(folder, waves):
    new = grid(waves).iloc[300:302].rename_axis("ds").reset_index().assign(unique_id="z")
    with pytest.raises(DataError, match="series 'z' is unknown: the model was fitted on x, y"):
        TitansForecaster.load(folder / "long").update(new)
    with pytest.raises(NotFittedError):
        TitansForecaster().update(new)
