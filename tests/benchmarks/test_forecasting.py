"""The benchmarks of forecasting on small settings; their figures are not judged here."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import forecasters, online
from benchmarks.__main__ import execute
from titans_seq.domains.timeseries.baselines import DLinear
from titans_seq.domains.timeseries.windows import Windows

pytestmark = pytest.mark.slow


def hours(rows):
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(rows)[:, None] * 2 * np.pi / 24 + [0, 1]) + 0.1 * rng.normal(size=(rows, 2))
    return pd.DataFrame(values, pd.date_range("2024-01-01", periods=rows, freq="h"), ["a", "b"])


def test_online(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(online, "read_rows", lambda name: (hours(700), (400, 150, 150)))
    monkeypatch.setattr(online, "BASELINE_CONTEXT", 48)
    monkeypatch.setattr(online, "RATES", (0.0, 1e-3))
    options = ["--datasets", "ETTh1", "--horizons", "6", "--seeds", "1", "--json", "--output", str(tmp_path)]
    assert execute(["online", *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)["settings"]
    mae = row["runs"][0]["mae"]
    assert set(mae) == {*online.WAYS, *online.PEERS}
    assert all(0 < value < 1 for value in mae.values())
    (figure,) = online.describe_figures({"settings": [row]})
    assert figure.what == "learning online, ETTh1, 6 ahead, test MAE, 1 seeds"


def test_gradient_steps_use_what_is_known_and_nothing_else():
    torch.manual_seed(0)
    horizon, series = 30, torch.randn(400, 1).cumsum(0)

    def forecasts(values, rate):
        torch.manual_seed(1)
        return online.step_through(DLinear(20, horizon), Windows([values], 20 + horizon, horizon), horizon, rate)

    frozen, stepped = forecasts(series, 0.0), forecasts(series, 1e-2)
    moved = np.abs(frozen - stepped).reshape(len(frozen), -1).max(1)
    first = int((moved > 0).argmax())
    assert horizon + online.EVERY <= first <= horizon + 3 * online.EVERY
    changed = series.clone()
    changed[200:] += 100.0
    later = forecasts(changed, 1e-2)
    np.testing.assert_array_equal(later[: 200 - 20 + 1], stepped[: 200 - 20 + 1])
    assert not np.array_equal(later[200:], stepped[200:])


def test_forecasters(tmp_path, capsys, monkeypatch):
    small = {name: forecasters.MODELS[name] for name in ("titans", "seasonal naive")}
    monkeypatch.setattr(forecasters, "MODELS", small)
    frame = hours(300).rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    task = forecasters.ForecastTask("hours", frame, "h", 12, 24, 3)
    monkeypatch.setattr(forecasters, "read_hours", lambda: task)
    options = ["--series", "6", "--seeds", "1", "--json", "--output", str(tmp_path)]
    assert execute(["forecasters", *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    found = {name: models["titans"][0]["mase"] for name, models in printed["tasks"].items()}
    assert set(found) == {"hours", "6 monthly series, 12 ahead"}
    assert found["hours"] < 1
    assert [len(known) for known in task.known()] == [2 * 264, 2 * 276, 2 * 288]
    perfect = frame[frame["ds"] >= frame["ds"].unique()[264]].rename(columns={"y": "forecast"})
    assert task.mase(perfect, "forecast") == 0
