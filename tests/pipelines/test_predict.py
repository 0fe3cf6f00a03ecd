"""What saved models answer to files and tables: forecasts, classes, bits of lines."""

import json

import numpy as np
import pandas as pd
import pytest

from titans_seq.cli import execute
from titans_seq.domains.registry import load_predictor
from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.errors import DataError, TitansSeqWarning

SIZE = {"horizon": 6, "context": 24, "dim": 16, "layers": 1, "patch": 6, "max_epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, waves):
    """A forecaster of waves that knows their first 400 rows."""
    return TitansForecaster(**SIZE).fit(waves.iloc[:400]).save(tmp_path_factory.mktemp("answers") / "model")


@pytest.fixture(scope="module")
def pair(waves):
    """Two series of one channel, as a long frame."""
    a, b = (waves.reset_index(names="ds")[["ds", c]].rename(columns={c: "y"}) for c in ("a", "b"))
    return pd.concat([a.assign(unique_id="a"), b.assign(unique_id="b")]).dropna()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_forecaster_goes_on_from_the_history_it_is_given(folder, waves, place, capsys):
    waves.iloc[350:450].to_csv("history.csv")
    command = ["predict", "--model", str(folder), "--data", "history.csv", "--out", "next.csv"]
    assert execute([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 6
    found = pd.read_csv("next.csv", index_col="when", parse_dates=True)
    expected = TitansForecaster.load(folder).update(waves.iloc[400:450]).predict()
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    waves.iloc[350:450].iloc[::-1].assign(other=1).to_parquet("history.parquet")
    assert execute([*command[:3], "--data", "history.parquet", "--out", "again.csv"]) == 0
    assert "they were sorted" in capsys.readouterr().err
    assert (place / "again.csv").read_text() == (place / "next.csv").read_text()


def test_each_series_of_a_long_table_is_answered_and_no_other(pair, place):
    model = TitansForecaster(**SIZE).fit(pair)
    model.save(place / "model")
    some = pair[(pair["unique_id"] == "b") & (pair["ds"] < "2024-01-15")].rename(columns={"ds": "when"})
    some.to_csv("some.csv", index=False)
    assert execute(["predict", "--model", "model", "--data", "some.csv", "--out", "next.csv"]) == 0
    found = pd.read_csv("next.csv", parse_dates=["ds"])
    assert found.columns.tolist() == ["unique_id", "ds", "y"]
    assert found["unique_id"].tolist() == ["b"] * 6
    assert found["ds"].iloc[0] == pd.Timestamp("2024-01-15")
    cut = model.backtest(pair, ["2024-01-14 23:00"])
    np.testing.assert_allclose(found["y"], cut.query("unique_id == 'b'")["forecast"], rtol=1e-5)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("layout", ["wide", "long"])
def test_a_forecaster_can_answer_its_own_example(waves, pair, place, zone, layout):
    frame = waves.tz_localize(zone) if layout == "wide" else pair.assign(ds=pair["ds"].dt.tz_localize(zone))
    model = TitansForecaster(**SIZE).fit(frame)
    predictor = load_predictor(model.save(place / "model"))
    found, expected = predictor.predict(predictor.from_table(predictor.example())), model.predict()
    expected = expected.reset_index() if layout == "wide" else expected
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5, check_freq=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="b"), "no column 'b'; it has when, a"),
        (lambda t: t.rename(columns={"when": "then"}), "no column 'when'"),
        (lambda t: t.assign(b="x"), "holds text"),
        (lambda t: t.assign(when="never"), "does not hold times"),
        (lambda t: t.assign(when=pd.date_range("2024-01-01 00:30", periods=len(t), freq="7min")), "no step of"),
        (lambda t: t.iloc[:0], "no rows"),
    ],
)
def test_what_is_no_history(folder, waves, place, capsys, change, message):
    table = change(waves.iloc[:50].reset_index())
    table.to_csv("a.csv", index=False)
    assert execute(["predict", "--model", str(folder), "--data", "a.csv", "--out", "b.csv"]) == 2
    assert message in capsys.readouterr().err
    assert not (place / "b.csv").exists()
    predictor = load_predictor(folder)
    with pytest.raises(DataError, match=message):
        predictor.predict(predictor.from_table(table))


def test_a_history_shorter_than_the_context(folder, waves):
    predictor = load_predictor(folder)
    with pytest.warns(TitansSeqWarning, match="has 5 steps, the model looks back on 24"):
        assert predictor.predict(waves.iloc[:5]).shape == (6, 3)


def test_lines_as_a_file_and_as_a_table(small_lm, tmp_path):
    predictor = load_predictor(small_lm.save(tmp_path / "model"))
    (tmp_path / "lines.txt").write_text("The value of x.\nŻółć!\n", encoding="utf-8")
    table = pd.DataFrame({"text": ["The value of x.", "Żółć!"]})
    pd.testing.assert_frame_equal(
        predictor.predict(predictor.from_file(tmp_path / "lines.txt")), predictor.predict(predictor.from_table(table))
    )
    assert len(predictor.predict(predictor.from_table(predictor.example()))) == 2
    for wrong in ("two\nlines", None, 3.0):
        with pytest.raises(DataError, match="row 2 must be one line of text"):
            predictor.from_table(pd.DataFrame({"text": ["fine", wrong]}))
    with pytest.raises(DataError, match="the table has no column 'text'; it has line"):
        predictor.from_table(pd.DataFrame({"line": ["fine"]}))
