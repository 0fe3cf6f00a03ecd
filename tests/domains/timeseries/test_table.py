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
