"""Frames in, regular series out."""

import numpy as np
import pandas as pd
import pytest

from titans_seq.domains.timeseries.frequency import natural_season
from titans_seq.domains.timeseries.panel import to_panel
from titans_seq.errors import DataError


def wide(freq="h", rows=60, **columns):
    index = pd.date_range("2020-01-01", periods=rows, freq=freq)
    return pd.DataFrame(columns or {"a": np.arange(float(rows))}, index=index)


def jittered(freq, rows=60):
    """Stamps near a grid, a twentieth of a step apart from it."""
    index = pd.date_range("2020-01-01", periods=rows, freq=freq)
    return index + (index[1] - index[0]) * np.random.default_rng(0).uniform(0, 0.05, rows)


@pytest.mark.parametrize(
    ("freq", "season"),
    [("s", 60), ("10min", 144), ("15min", 96), ("h", 24), ("2h", 12), ("D", 7), ("B", 5), ("W-WED", 52),
     ("MS", 12), ("ME", 12), ("QS-JAN", 4), ("QE-DEC", 4), ("YS-JAN", 1), ("3D", 1)],
)  # fmt: skip
def test_frequency_with_and_without_gaps(freq, season):
    frame = wide(freq)
    panel = to_panel(frame)
    assert panel.season == season
    assert len(panel.series[0].index) == 60
    gappy = to_panel(frame.drop(frame.index[[5, 6, 20]]))
    assert gappy.series[0].index.equals(panel.series[0].index)
    assert np.isnan(gappy.series[0].values[[5, 6, 20], 0]).all()
    assert np.isfinite(np.delete(gappy.series[0].values, [5, 6, 20], axis=0)).all()
    ahead = panel.future(panel.series[0].index, 3)
    assert list(ahead) == list(pd.date_range("2020-01-01", periods=63, freq=freq)[-3:])


def test_long_frame():
    frame = pd.concat([wide(rows=30).rename_axis("ds").reset_index().assign(unique_id=name) for name in ("x", "y")])
    panel = to_panel(frame)
    assert panel.layout == "long"
    assert [s.name for s in panel.series] == ["x", "y"]
    assert panel.channels == ["a"]
    back = panel.frame(["x", "y"], [s.index for s in panel.series], [s.values for s in panel.series])
    pd.testing.assert_frame_equal(back, frame[back.columns].reset_index(drop=True), check_dtype=False)


def test_time_zone_and_periods():
    zoned = wide().tz_localize("Europe/Berlin")
    assert str(to_panel(zoned).series[0].index.tz) == "Europe/Berlin"
    periods = wide("MS")
    periods.index = periods.index.to_period("M")
    assert natural_season(to_panel(periods).freq) == 12


def test_unsorted_stamps_are_sorted_with_a_warning():
    frame = wide()
    with pytest.warns(UserWarning, match="not in order; they were sorted"):
        panel = to_panel(frame.sample(frac=1, random_state=0))
    np.testing.assert_array_equal(panel.series[0].values[:, 0], frame["a"].to_numpy(dtype="float32"))


def twice(frame):
    return pd.concat([frame, frame.iloc[[7]]]).sort_index()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (wide().iloc[:0], "no rows"),
        (wide().set_axis(wide().index.astype(str)), "no time"),
        (wide().set_axis(wide().index.astype("int64") / 3), "no time"),
        (wide().set_axis([*range(59), 9000]), "mistyped.*whole numbers count steps"),
        (pd.concat({"x": pd.concat({"y": wide()})}), "the index has 3 levels: series and time make two"),
        (pd.DataFrame(np.zeros((60, 2)), wide().index, pd.Index([1, "1"])), "two columns are called '1'"),
        (wide()[[]], "no column of values"),
        (twice(wide()), "1 time stamps stand twice, the first is 2020-01-01 07:00"),
        (wide(a=np.full(60, np.nan)), "'a' holds no value at all"),
        (wide(a=["1"] * 59 + ["x"]), "'a' holds text: 'x' at 2020-01-03 11:00"),
        (wide(a=[1.0] * 59 + [np.inf]), "'a' holds an infinite value at 2020-01-03 11:00"),
        (wide(rows=2), "2 rows are too few"),
        (wide().set_axis(wide().index + pd.to_timedelta(np.arange(60) ** 2, unit="s")), "no regular grid"),
        (wide().set_axis(jittered("10min")), r"resample them first, as by y.resample\('10min'\).mean"),
        (wide().set_axis(jittered("1D")), r"y.resample\('1D'\)"),
        (wide().set_axis(pd.DatetimeIndex([*wide().index[:-1], "2090-01-01"])), "mistyped"),
        (wide().set_axis(pd.DatetimeIndex([*wide().index[:-1], pd.NaT])), "1 time stamps are missing"),
        ([1, 2], "what is needed is a frame of pandas, polars or pyarrow, not list"),
        (wide().assign(made=pd.Timestamp("2024-01-01")), "'made' holds times, not numbers"),
        (
            wide().set_axis(
                pd.DatetimeIndex(
                    np.append(wide().index[:-1].to_numpy("datetime64[us]"), np.datetime64("9999-12-31", "us"))
                )
            ),
            "1678 to 2262",
        ),
        (wide("s", 3000).set_axis(pd.DatetimeIndex(["1970-01-01", *wide("s", 3000).index[1:]])), "mistyped"),
    ],
)
def test_wrong_frames(frame, message):
    with pytest.raises(DataError, match=message):
        to_panel(frame)


@pytest.mark.parametrize(("freq", "season"), [("BME", 12), ("BMS", 12), ("BQE-DEC", 4), ("WOM-3FRI", 12), ("2W", 26)])
def test_season_of_business_calendars(freq, season):
    assert natural_season(pd.tseries.frequencies.to_offset(freq)) == season
