"""What would have been forecast at earlier times."""

import numpy as np
import pandas as pd
import pytest

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.domains.timeseries.panel import to_panel
from titans_seq.errors import DataError

SMALL = {"horizon": 6, "context": 24, "dim": 16, "layers": 1, "max_epochs": 1, "batch_size": 64, "patch": 12}


@pytest.fixture(scope="module")
def fitted(waves):
    return TitansForecaster(**SMALL).fit(waves.iloc[:300])


def test_each_cutoff_is_the_forecast_made_there(fitted, waves, tmp_path):
    frame = fitted.backtest(waves, stride=7, n_windows=5)
    assert list(frame.columns) == ["channel", "cutoff", "ds", "y", "forecast"]
    assert len(frame) == 2 * 5 * 6
    cutoffs = list(pd.date_range(end=waves.index[-7], periods=5, freq="7h"))
    assert sorted(set(frame["cutoff"])) == cutoffs
    fitted.save(tmp_path / "model")
    for cutoff in cutoffs:
        model = TitansForecaster.load(tmp_path / "model").observe_panel(to_panel(waves[:cutoff]))
        forecast = model.predict()
        for channel in "ab":
            part = frame[(frame["channel"] == channel) & (frame["cutoff"] == cutoff)]
            np.testing.assert_allclose(part["forecast"], forecast[channel], rtol=1e-4, atol=1e-5)
            assert list(part["ds"]) == list(forecast.index)
            np.testing.assert_allclose(part["y"], waves.reindex(part["ds"])[channel], rtol=1e-6)


def test_all_windows_by_default_and_missing_targets(fitted, waves):
    before = fitted.predict()
    frame = fitted.backtest(waves)
    assert frame["cutoff"].nunique() == (500 - 24) // 6
    last = frame[frame["cutoff"] == frame["cutoff"].max()]
    assert last["ds"].max() == waves.index[-1]
    assert frame["y"].isna().sum() == 10 + 2 * 5, "ten values and five rows are missing in the waves"
    assert frame["forecast"].notna().all()
    pd.testing.assert_frame_equal(fitted.predict(), before, check_exact=True)


def test_cutoffs_by_stamp(fitted, waves):
    stamps = [waves.index[-1], "2024-01-02 01:00"]  # the future, and less history than the context
    frame = fitted.backtest(waves, cutoffs=stamps)
    assert list(frame["cutoff"].unique()) == sorted(map(pd.Timestamp, stamps))
    ahead = frame[frame["cutoff"] == waves.index[-1]]
    assert ahead["y"].isna().all()
    assert ahead["ds"].iloc[0] == waves.index[-1] + pd.Timedelta("1h")
    assert frame["forecast"].notna().all()


def test_long_frames_of_different_length(waves):
    frame = waves.rename_axis("ds").reset_index()
    both = pd.concat([frame.assign(unique_id="x"), frame.iloc[:200].assign(unique_id="y", a=frame["a"] * 50)])
    model = TitansForecaster(**SMALL).fit(both)
    result = model.backtest(both, n_windows=3)
    assert list(result.columns) == ["unique_id", "channel", "cutoff", "ds", "y", "forecast"]
    assert result.groupby(["unique_id", "channel"])["cutoff"].nunique().to_dict() == dict.fromkeys(
        [("x", "a"), ("x", "b"), ("y", "a"), ("y", "b")], 3
    )
    ends = result.groupby("unique_id")["ds"].max()
    assert (ends["x"], ends["y"]) == (frame["ds"].iloc[-1], frame["ds"].iloc[199])
    spread = result[result["channel"] == "a"].groupby("unique_id")["forecast"].std()
    assert spread["y"] > 10 * spread["x"], "each series is in its own units"
    alone = model.backtest(both[both["unique_id"] == "y"], n_windows=3)
    pd.testing.assert_frame_equal(alone, result[result["unique_id"] == "y"].reset_index(drop=True), rtol=1e-5)


def test_refit_is_a_fresh_model_of_what_was_known(waves):
    model = TitansForecaster(**SMALL).fit(waves.iloc[:300])
    cutoff = waves.index[250]
    frame = model.backtest(waves, cutoffs=[cutoff], refit=True)
    fresh = TitansForecaster(**SMALL).fit(waves[:cutoff]).predict()
    np.testing.assert_allclose(frame[frame["channel"] == "b"]["forecast"], fresh["b"], rtol=1e-4, atol=1e-5)
    assert not np.allclose(frame["forecast"], model.backtest(waves, cutoffs=[cutoff])["forecast"])


def test_progress_goes_to_standard_error(fitted, waves, capsys):
    fitted.verbose = True
    try:
        fitted.backtest(waves)
    finally:
        fitted.verbose = False
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride must be a whole number of at least 1"),
        ({"n_windows": 1.5}, "n_windows must be a whole number"),
        ({"cutoffs": ["2024-01-03"], "stride": 2}, "stride and cutoffs cannot both be given"),
        ({"cutoffs": []}, "cutoffs is empty"),
        ({"cutoffs": ["never"]}, "cutoffs must be time stamps"),
        ({"cutoffs": ["2030-01-01"]}, "cutoff 2030-01-01 00:00:00 is a step of no series"),
        ({"cutoffs": ["2024-01-03 00:30"]}, "00:30:00 is a step of no series"),
        ({"cutoffs": pd.DatetimeIndex(["2024-01-03"], tz="UTC")}, "time zone UTC, the series in None"),
    ],
)
def test_wrong_cutoffs(fitted, waves, options, message):
    with pytest.raises(DataError, match=message):
        fitted.backtest(waves, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.iloc[:29], r"29 steps: context 24 \+ horizon 6 need 30"),
        (lambda f: f[["b"]], "column 'a' is missing"),
        (lambda f: f.set_axis(f.index.where(f.index != f.index[9], f.index[9] + pd.Timedelta("1s"))), "is no step of"),
        (lambda f: f.set_axis(f.index[:-1].append(pd.DatetimeIndex(["2150-01-01"]))), "mistyped"),
        (lambda f: f.rename_axis("ds").reset_index().assign(unique_id="x"), "a wide frame is needed"),
    ],
)
def test_wrong_frames(fitted, waves, change, message):
    with pytest.raises(DataError, match=message):
        fitted.backtest(change(waves))
