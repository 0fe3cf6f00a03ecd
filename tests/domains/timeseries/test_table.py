"""Tables that pandas users meet."""

import gzip

import numpy as np
import pandas as pd
import pytest

from titans_seq.domains.timeseries.panel import to_panel
from titans_seq.domains.timeseries.table import EMBEDDED, read_table
from titans_seq.errors import DataError


@pytest.fixture
def frame():
    stamps = pd.date_range("2021-03-01", periods=40, freq="h", name="date")
    return pd.DataFrame({"größe": np.arange(40) / 4, "other": np.arange(40)}, index=stamps)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encodings_and_separators(tmp_path, frame, encoding, separator):
    path = tmp_path / "t.csv"
    frame.to_csv(path, encoding=encoding, sep=separator)
    pd.testing.assert_frame_equal(read_table(path), frame, check_freq=False, check_index_type=False)


def test_decimal_comma_and_day_first(tmp_path, frame):
    path = tmp_path / "t.csv"
    frame.to_csv(path, sep=";", decimal=",", date_format="%d.%m.%Y %H:%M")
    np.testing.assert_allclose(read_table(path)["größe"], frame["größe"])
    assert list(read_table(path).index) == list(frame.index)


def test_compressed_and_parquet(tmp_path, frame):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(frame.to_csv().encode()))
    frame.to_parquet(tmp_path / "t.parquet")
    frame.reset_index().to_parquet(tmp_path / "u.parquet")
    for name in ("t.csv.gz", "t.parquet", "u.parquet"):
        table = read_table(tmp_path / name)
        np.testing.assert_array_equal(table.to_numpy(), frame.to_numpy())
        assert list(table.index) == list(frame.index)


def test_long_table_finds_its_series(tmp_path, frame):
    both = pd.concat([frame.assign(city="A"), frame.assign(city="B")]).reset_index()
    both.to_csv(tmp_path / "t.csv", index=False)
    panel = to_panel(read_table(tmp_path / "t.csv"))
    assert [s.name for s in panel.series] == ["A", "B"]
    assert panel.channels == ["größe", "other"]


def test_targets_and_named_columns(tmp_path, frame):
    frame.assign(stamp=frame.index).to_csv(tmp_path / "t.csv")
    table = read_table(tmp_path / "t.csv", time_column="stamp", targets=["other"])
    assert list(table.columns) == ["other"]
    with pytest.raises(DataError, match="no column 'nope'; it has date, größe"):
        read_table(tmp_path / "t.csv", targets=["nope"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"date,a\n", "header but no rows"),
        (b"a,b\n1,2\n3,4\n", "no time column"),
        (b"date\n2020-01-01\n2020-01-02\n", "no column of values"),
        (b"\x00\x01\x02\x03" * 100, "neither text nor Parquet"),
        (b"PAR1" + b"\x00" * 40, "not a readable Parquet"),
        (b"date,a\n2020-01-01,1\n2020-01-02,1,2,3,4\n", "not a readable table"),
    ],
)
def test_wrong_files(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "t.csv")


def test_missing_file_folder_and_truncated_archive(tmp_path, frame):
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "nope.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(frame.to_csv().encode())[:-20])
    with pytest.raises(DataError, match="cannot read"):
        read_table(tmp_path / "t.csv.gz")


def test_embedded_weather():
    panel = to_panel(read_table(EMBEDDED))
    assert [s.name for s in panel.series] == ["EWR", "JFK", "LGA"]
    assert panel.channels == ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
    assert panel.freq.freqstr == "h"
    assert all(np.isnan(s.values).any() for s in panel.series), "the real gaps are kept"


def test_benchmark_files(real_data):
    weather = read_table(real_data / "timeseries" / "weather.csv")
    assert weather.shape == (52_696, 21)
    assert str(weather.index[1]) == "2020-01-01 00:20:00"
    assert "Tlog (degC)" in weather.columns
    etth = to_panel(read_table(real_data / "timeseries" / "ETTh1.csv"))
    assert etth.series[0].values.shape == (17_420, 7)


def stamps_of(tmp_path, stamps, **options):
    rows = "\n".join(f"{s},{i}" for i, s in enumerate(stamps))
    (tmp_path / "t.csv").write_text(f"when,v\n{rows}\n")
    return list(read_table(tmp_path / "t.csv", **options).index)


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y"])
@pytest.mark.parametrize("freq", ["MS", "D", "h", "W-MON", "QS"])
def test_slash_dates_of_either_order(tmp_path, form, freq):
    if freq == "h":
        form += " %H:%M"
    expected = pd.date_range("2010-01-01", periods=150 if freq != "QS" else 40, freq=freq)
    assert stamps_of(tmp_path, expected.strftime(form)) == list(expected)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (range(1950, 2000), pd.date_range("1950-01-01", periods=50, freq="YS")),
        (
            [int(d.strftime("%Y%m%d")) for d in pd.date_range("2024-01-20", periods=50)],
            pd.date_range("2024-01-20", periods=50),
        ),
        (range(1_700_000_000, 1_700_180_000, 3600), pd.date_range("2023-11-14 22:13:20", periods=50, freq="h")),
        (
            range(1_700_000_000_000, 1_700_180_000_000, 3_600_000),
            pd.date_range("2023-11-14 22:13:20", periods=50, freq="h"),
        ),
    ],
)
def test_numbers_as_times_when_named(tmp_path, numbers, expected):
    assert stamps_of(tmp_path, numbers, time_column="when") == list(expected)


def test_other_numbers_are_no_times(tmp_path):
    with pytest.raises(DataError, match="does not hold times"):
        stamps_of(tmp_path, range(50), time_column="when")


def test_date_and_time_in_two_columns(tmp_path):
    hours = pd.date_range("2024-01-01", periods=48, freq="h")
    frame = pd.DataFrame({"Date": hours.strftime("%d/%m/%Y"), "Time": hours.strftime("%H:%M:%S"), "v": range(48)})
    frame.to_csv(tmp_path / "t.csv", sep=";", index=False)
    with pytest.raises(DataError, match="date and time stand in two columns, the time in 'Time'"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("date,a\n2020-01-01,1\n2020-01-02,2\n", {"targets": ["date"]}, "holds the time stamps"),
        ("date,a\n2020-01-01,1\n2020-01-02,2\n", {"id_column": "date"}, "holds the time stamps"),
        ("date ,date,a\n2020-01-01,2020-01-01,1\n", {}, "two columns named 'date'"),
        ("date;a\n2020-01-01;999\n2020-01-02;1,234\n", {}, "decimal comma or a thousands separator"),
    ],
)
def test_ambiguous_tables(tmp_path, text, options, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "t.csv", **options)


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04garbage"])
def test_broken_archives(tmp_path, raw):
    import zipfile

    (tmp_path / "t.zip").write_bytes(raw or b"x")
    with pytest.raises(DataError, match="cannot read"):
        read_table(tmp_path / "t.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(DataError, match="cannot read"):
        read_table(tmp_path / "empty.zip")
