"""Progress where nobody sees a bar: lines on standard error, and none sooner than they are due."""

import numpy as np
import pandas as pd
import pytest

from titans_seq import progress
from titans_seq.domains.timeseries import TitansForecaster


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)


def test_lines_are_a_minute_apart(capsys):
    assert list(progress.show_progress(range(3), "turns", True)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_items_and_bytes(at_once, capsys, tmp_path):
    assert list(progress.show_progress("abc", "turns", True)) == ["a", "b", "c"]
    assert capsys.readouterr().err.splitlines()[-1] == "turns: 3 of 3, after 0:00"
    list(progress.show_progress("abc", "turns", False))
    file = tmp_path / "file"
    file.write_bytes(b"x" * 200)
    with progress.byte_progress(file, "scanning", True) as on_bytes:
        on_bytes(50)
    assert capsys.readouterr().err == "scanning: 25 % of the file, after 0:00\n"


def test_training_tells_how_far_it_is(at_once, capsys):
    days = pd.date_range("2024-01-01", periods=60, freq="D")
    y = pd.DataFrame({"a": np.sin(np.arange(60.0))}, index=days)
    options = {"horizon": 3, "dim": 8, "layers": 1, "max_epochs": 2, "steps_per_epoch": 2}
    TitansForecaster(**options, verbose=True).fit(y)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("training: epoch 1 of 2, step 1, at most 0:0")
    assert "epoch 2 of 2, step 4, train loss 0." in lines[-1]
    assert "(best 0." in lines[-1]
    TitansForecaster(**options, verbose=False).fit(y)
    assert capsys.readouterr().err == ""


def test_times():
    assert [progress.show_time(s) for s in (5, 65, 7265)] == ["0:05", "1:05", "2:01:05"]
