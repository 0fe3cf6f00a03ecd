"""The forecaster as a stream: all rows count, none counts before its time, and pieces make no difference."""

import gc
import itertools
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.domains.timeseries.linear import LinearConfig, LinearMemory, Moments, apply, measure
from titans_seq.domains.timeseries.panel import to_panel
from titans_seq.domains.timeseries.tokens import Table
from titans_seq.errors import DataError

SMALL = {"horizon": 5, "context": 24, "dim": 16, "layers": 1, "max_epochs": 1, "patch": 6, "chunk_size": 4}


def waves(rows, seed=0):
    rng = np.random.default_rng(seed)
    hours = np.arange(rows)
    a = np.sin(hours * 2 * np.pi / 24) + 0.2 * rng.normal(size=rows)
    return pd.DataFrame({"a": a, "b": 3 - 2 * a}, index=pd.date_range("2024-01-01", periods=rows, freq="h"))


@pytest.fixture(scope="module", params=[False, True], ids=["fixed", "learning"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    model = TitansForecaster(**SMALL, learn=request.param).fit(waves(600).iloc[:400])
    assert model.stream_.linear.config.learns == request.param
    return model.save(path / "model")


def test_any_pieces_are_one_history(folder):
    frame = waves(600)
    rng = np.random.default_rng(1)
    whole = TitansForecaster.load(folder).update(frame.iloc[400:])
    cuts = [400, *sorted(rng.choice(np.arange(401, 600), 40, replace=False).tolist()), 600]
    pieces = TitansForecaster.load(folder)
    for start, stop in itertools.pairwise(cuts):
        pieces.update(frame.iloc[start:stop])
        if start % 3 == 0:  # a forecast on the way, and a way through a file
            pieces.predict()
            pieces = TitansForecaster.load(pieces.save(folder.parent / "pieces"))
    np.testing.assert_allclose(
        whole.predict_quantiles().to_numpy(), pieces.predict_quantiles().to_numpy(), rtol=1e-4, atol=1e-5
    )
    anew = TitansForecaster.load(folder).observe_panel(to_panel(frame))
    np.testing.assert_allclose(anew.predict().to_numpy(), whole.predict().to_numpy(), rtol=1e-3, atol=1e-4)


def test_rows_far_older_than_any_window_count(folder):
    frame = waves(600)
    other = frame.copy()
    other.iloc[:100] = other.iloc[:100] * 2 + 1
    first, second = (
        TitansForecaster.load(folder).observe_panel(to_panel(f)).predict_quantiles() for f in (frame, other)
    )
    assert not np.array_equal(first.to_numpy(), second.to_numpy())


def test_what_is_not_known_yet_moves_nothing(folder):
    """A planted future: forecasts made before it are the same, those made behind it are not."""
    frame = waves(600)
    planted = frame.copy()
    planted.iloc[503:] += 40 * np.random.default_rng(2).normal(size=(97, 2))
    model = TitansForecaster.load(folder)
    before, after = (model.backtest(f, stride=1) for f in (frame, planted))
    early = before["cutoff"] <= frame.index[502]
    np.testing.assert_allclose(before["forecast"][early], after["forecast"][early], rtol=1e-4, atol=1e-5)
    assert not np.allclose(before["forecast"][~early], after["forecast"][~early])


@pytest.mark.slow
def test_many_updates_cost_the_same(folder):
    """Timed side by side with those of a forecaster that has seen none of them: other work slows both."""
    old, new, frame = TitansForecaster.load(folder), TitansForecaster.load(folder), waves(1900)
    sizes = []
    for start in range(400, 1600):
        old.update(frame.iloc[start : start + 1])
        if start % 300 == 0:
            gc.collect()
            sizes.append((old.stream_.backbone.nbytes, len(old.panel_.series[0].index)))
    assert len(set(sizes)) == 1, "it does not grow"
    seconds = {1600: [], 400: []}
    for step in range(300):
        for model, start in ((old, 1600), (new, 400)):
            started = time.perf_counter()
            model.update(frame.iloc[start + step : start + step + 1])
            seconds[start].append(time.perf_counter() - started)
    assert np.median(seconds[1600]) < 2 * np.median(seconds[400]), "nor slow down"


def test_a_memory_that_learns_follows_a_change_and_one_that_is_fixed_does_not():
    """From row 900 on, the series turns around: what followed earlier is wrong by then."""
    rng = np.random.default_rng(0)
    values = np.zeros(1600)
    for t in range(1, 1600):
        values[t] = (0.7 if t < 900 else -0.7) * values[t - 1] + rng.normal()
    frame = pd.DataFrame({"a": values}, index=pd.date_range("2024-01-01", periods=1600, freq="h"))
    errors = {}
    for learn in (False, True):
        options = {"horizon": 2, "context": 8, "patch": 2, "dim": 8, "layers": 1, "max_epochs": 1, "learn": learn}
        model = TitansForecaster(**options).fit(frame.iloc[:850])
        if learn:
            config = replace(model.stream_.linear.config, half_life=100.0)
            model.stream_ = replace(model.stream_, linear=replace(model.stream_.linear, config=config))
        result = model.backtest(frame, cutoffs=frame.index[1200:1598])
        errors[learn] = float((result["y"] - result["forecast"]).abs().mean())
    assert errors[True] < 0.8 * errors[False], errors


def test_a_linear_memory_is_the_ridge_regression():
    torch.manual_seed(0)
    values = torch.randn(200, 2).cumsum(0)
    table = Table([values], 10, 3)
    config = LinearConfig(10, 3, "last", 1, 0.01, 0.5, None, False)
    ends = torch.arange(10, 197)
    moments = measure(config, table, torch.zeros(len(ends), dtype=torch.long), ends, pool=False)
    weights = LinearMemory(config, moments).weights()
    assert weights.shape == (2, 11, 3)
    keys, targets = [], []
    for c in range(2):
        past = values[:, c].unfold(0, 13, 1)[: len(ends)]
        spread = (past[:, :10].var(1, correction=0, keepdim=True) + 0.01).sqrt()
        keys.append(torch.cat([(past[:, :10] - past[:, 9:10]) / spread, torch.ones(len(past), 1)], 1))
        targets.append((past[:, 10:] - past[:, 9:10]) / spread)
    for c in range(2):  # own windows, and half the weight of the mean of both channels
        scale = [0.25 + (i == c) for i in range(2)]
        gram = sum(s * k.T @ k for s, k in zip(scale, keys, strict=True))
        cross = sum(s * k.T @ t for s, k, t in zip(scale, keys, targets, strict=True))
        expected = torch.linalg.solve(gram + 0.01 * sum(scale) * len(ends) * torch.eye(11), cross)
        torch.testing.assert_close(weights[c], expected, rtol=1e-3, atol=1e-4)
    z = torch.randn(6, 10)
    group = torch.tensor([1, 0, 1, 1, 0, 0])
    got = apply(weights, group, z)
    for i in range(6):
        torch.testing.assert_close(got[i], z[i] @ weights[group[i], :-1] + weights[group[i], -1])


def test_a_written_pair_fades_by_its_half_life():
    config = LinearConfig(2, 1, "mean", 1, 0.1, None, 10.0, True)
    one = Moments(torch.ones(1, 3, 3), torch.ones(1, 3, 1), torch.ones(1))
    memory = LinearMemory(config, one).written(one, 10)
    assert float(memory.moments.count) == pytest.approx(1.5)
    assert float(memory.written(Moments.zeros(1, 2, 1), 20).moments.gram[0, 0, 0]) == pytest.approx(1.5 / 4)


@pytest.mark.parametrize(
    ("rows", "freq", "horizon"), [(4, "MS", 1), (30, "MS", 12), (87, "W-SUN", 8), (40, "YS", 3), (60, "D", 14)]
)
def test_short_histories_are_forecast_by_default(rows, freq, horizon):
    index = pd.date_range("2000-01-01", periods=rows, freq=freq)
    frame = pd.DataFrame({"a": np.arange(rows) + np.random.default_rng(0).normal(size=rows)}, index=index)
    model = TitansForecaster(horizon=horizon, max_epochs=2).fit(frame)
    forecast = model.predict()
    assert np.isfinite(forecast).all(axis=None)
    assert np.abs(forecast["a"] - frame["a"].iloc[-1]).max() < 2 * horizon + 5


def test_one_series_as_it_is():
    y = waves(300)["a"]
    model = TitansForecaster(**SMALL).fit(y.iloc[:290])
    forecast = model.update(y.iloc[290:]).predict()
    assert list(forecast.columns) == ["a"]
    assert forecast.index[0] == y.index[-1] + pd.Timedelta("1h")
    model.set_params(horizon=9)
    assert len(model.predict()) == 5, "parameters count at the next fit"


def test_stamps_that_are_none_and_frequencies_that_differ():
    numbers = pd.DataFrame({"unique_id": "a", "ds": np.arange(50) / 7, "y": 1.0})
    with pytest.raises(DataError, match="ds of series 'a': time stamps are broken numbers"):
        TitansForecaster(horizon=3).fit(numbers)
    days = numbers.assign(ds=pd.date_range("2024-01-01", periods=50, freq="D"))
    hours = pd.DataFrame({"unique_id": "b", "ds": pd.date_range("2024-01-01", periods=50, freq="h"), "y": 1.0})
    with pytest.raises(DataError, match="series of different frequencies in one frame"):
        TitansForecaster(horizon=3).fit(pd.concat([days, hours]))


def test_series_of_different_length_and_scale():
    rng = np.random.default_rng(0)
    parts = []
    for i, rows in enumerate([3, 12, 40, 41, 200]):
        stamps = pd.date_range("2010-01-01", periods=rows, freq="MS")
        values = 10.0 ** (3 * i - 6) * (5 + np.sin(np.arange(rows) * np.pi / 6) + 0.1 * rng.normal(size=rows))
        parts.append(pd.DataFrame({"unique_id": f"s{i}", "ds": stamps, "y": values}))
    frame = pd.concat(parts)
    forecast = TitansForecaster(horizon=6, max_epochs=2).fit(frame).predict()
    means = forecast.groupby("unique_id")["y"].mean() / frame.groupby("unique_id")["y"].mean()
    assert ((means > 0.7) & (means < 1.3)).all(), means


def test_noise_is_left_to_the_simple_methods():
    """A random walk: nothing is better than its last value, and the forecaster is hardly worse."""
    rng = np.random.default_rng(0)
    index = pd.date_range("2020-01-01", periods=900, freq="D")
    frame = pd.DataFrame(rng.normal(size=(900, 3)).cumsum(0), index=index, columns=list("abc"))
    model = TitansForecaster(horizon=7).fit(frame.iloc[:700])
    result = model.backtest(frame, cutoffs=index[700:893])
    last = frame.stack().rename("last").rename_axis(["cutoff", "channel"]).reset_index()
    joined = result.merge(last, on=["cutoff", "channel"])
    error, naive = ((joined["y"] - joined[c]).abs().mean() for c in ("forecast", "last"))
    assert error < 1.05 * naive, (error, naive)


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_scales_far_from_one(scale):
    frame = waves(300) * scale
    forecast = TitansForecaster(**SMALL).fit(frame).predict()
    reference = TitansForecaster(**SMALL).fit(waves(300)).predict()
    np.testing.assert_allclose(forecast.to_numpy() / scale, reference.to_numpy(), rtol=0.02, atol=0.02)


def test_a_constant_channel_and_one_with_two_values():
    frame = waves(300).assign(flat=7.0, rare=np.nan)
    frame.loc[frame.index[[3, 200]], "rare"] = [1.0, 2.0]
    model = TitansForecaster(**SMALL).fit(frame)
    forecast = model.predict()
    assert np.isfinite(forecast).all(axis=None)
    np.testing.assert_allclose(forecast["flat"], 7.0, atol=0.05)
    assert model.update(frame.iloc[:0].reindex([frame.index[-1] + pd.Timedelta("1h")])).predict().notna().all(axis=None)
