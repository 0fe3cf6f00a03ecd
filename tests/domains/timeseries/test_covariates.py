"""Covariates of the past, known ahead, and of the calendar."""

import numpy as np
import pandas as pd
import pytest
import torch

from titans_seq import BackboneConfig
from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.domains.timeseries.calendars import calendar_features, calendar_names
from titans_seq.domains.timeseries.network import ForecastConfig, ForecastNetwork
from titans_seq.domains.timeseries.panel import to_panel
from titans_seq.errors import DataError, ModelError

SMALL = {"horizon": 6, "context": 24, "dim": 16, "layers": 1, "max_epochs": 1, "batch_size": 64, "patch": 12}
NAN = float("nan")


def promoted(rows=600, seed=0):
    """Two channels that answer to a promotion oppositely, and a sensor that tells nothing."""
    rng = np.random.default_rng(seed)
    promo = (rng.random(rows) < 0.3).astype(float)
    index = pd.date_range("2024-01-01", periods=rows, freq="h", name="when")
    noise = 0.1 * rng.normal(size=(rows, 2))
    y = pd.DataFrame({"a": 5 + 2 * promo + noise[:, 0], "b": 1 - 3 * promo + noise[:, 1]}, index=index)
    return y, pd.DataFrame({"sensor": rng.normal(size=rows), "promo": promo}, index=index)


@pytest.fixture(scope="module")
def data():
    return promoted()


@pytest.fixture(scope="module")
def fitted(data):
    y, X = (frame.iloc[:560] for frame in data)
    options = SMALL | {"max_epochs": 8, "learning_rate": 2e-2, "patience": 8, "dropout": 0.0}
    return TitansForecaster(**options, future_covariates=["promo"], quantiles=[0.2, 0.8]).fit(y, X)


def test_no_covariates_is_the_same_network():
    shape = {
        "context": 24,
        "horizon": 6,
        "patch": 4,
        "channels": 2,
        "backbone": BackboneConfig(dim=8, layers=1, heads=2, chunk_size=4),
    }
    nets = []
    for options in ({}, {"past_features": 1, "future_features": 2}):
        torch.manual_seed(3)
        nets.append(ForecastNetwork(ForecastConfig(**shape, **options)))
    plain, rich = (net.state_dict() for net in nets)
    assert {name.split(".")[0] for name in set(rich) - set(plain)} == {"covariates"}
    assert all(torch.equal(plain[name], rich[name]) for name in plain)


def test_what_is_known_ahead_is_used_by_each_channel_in_its_way(fitted, data):
    y, X = data
    forecast = fitted.predict(X.iloc[560:])
    error = (forecast - y.iloc[560:566]).abs().mean()
    assert (error < 0.5).all(), "the promotion alone moves them by 2 and 3"
    other = X.iloc[560:566].assign(promo=1 - X["promo"])
    moved = fitted.predict(other) - forecast
    sign = np.where(X["promo"].iloc[560:566] > 0, -1, 1)
    assert (moved["a"] * sign > 1).all()
    assert (moved["b"] * sign < -1).all()
    quantiles = fitted.predict_quantiles([0.2, 0.5], X=X)
    np.testing.assert_allclose(quantiles["a"][0.5], forecast["a"], rtol=1e-5)
    assert (quantiles["a"][0.2] <= quantiles["a"][0.5]).all()
    assert fitted.predict_interval(0.8, X=X).shape == (6, 4)


def test_update_backtest_and_storage(fitted, data, tmp_path):
    y, X = data
    fitted.save(tmp_path / "model")
    model = TitansForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(model.predict(X), fitted.predict(X), check_exact=True)
    with pytest.raises(DataError, match="X is needed: it holds sensor, promo, as in fit"):
        model.update(y.iloc[560:570])
    model.update(y.iloc[560:563], X.iloc[560:563]).update(y.iloc[563:590], X)
    frame = model.backtest(y, X=X, cutoffs=[y.index[559], y.index[589]])
    for cutoff, forecaster in ((559, fitted), (589, model)):
        part = frame[frame["cutoff"] == y.index[cutoff]]
        expected = forecaster.predict(X.iloc[cutoff + 1 :].drop(columns="sensor"))
        np.testing.assert_allclose(part["forecast"], expected.to_numpy().T.ravel(), rtol=1e-4)
    again = model.save(tmp_path / "again")
    assert TitansForecaster.load(again).predict(X.iloc[590:]).equals(model.predict(X.iloc[590:]))


def test_refit_with_covariates(data):
    y, X = data
    model = TitansForecaster(**SMALL, future_covariates=("promo",), calendar=["hour"]).fit(y.iloc[:300], X)
    frame = model.backtest(y, X=X, cutoffs=[y.index[249]], refit=True)
    fresh = TitansForecaster(**SMALL, future_covariates=("promo",), calendar=["hour"]).fit(y.iloc[:250], X)
    np.testing.assert_allclose(frame["forecast"], fresh.predict(X).to_numpy().T.ravel(), rtol=1e-5)


def test_past_covariates_need_nothing_ahead(data):
    y, X = data
    model = TitansForecaster(**SMALL).fit(y, X[["sensor"]])
    model.predict()
    first = model.predict_quantiles()
    model.covariate_values_[0][-3:] += 5
    assert not model.predict_quantiles().equals(first), "it is read"
    with pytest.raises(DataError, match="nothing is known ahead to this model"):
        model.predict(X)


def test_surprise_reads_covariates(data):
    y, X = data
    model = TitansForecaster(**SMALL, chunk_size=1).fit(y, X[["sensor"]])
    trace = model.surprise(y.iloc[:60], X[["sensor"]])
    assert trace.iloc[:48].notna().all(axis=None)
    other = model.surprise(y.iloc[:60], X[["sensor"]] + 5)
    assert (trace.iloc[:48] != other.iloc[:48]).any(axis=None)
    with pytest.raises(DataError, match="X is needed: it holds sensor"):
        model.surprise(y.iloc[:60])


def test_calendar(waves, tmp_path):
    model = TitansForecaster(**SMALL, calendar=True).fit(waves)
    assert model.calendar_ == ("hour", "weekday", "monthday", "month")
    forecast = model.predict()
    plain = TitansForecaster(**SMALL, calendar=False).fit(waves).predict_quantiles()
    assert not np.allclose(model.predict_quantiles(), plain)
    model.save(tmp_path / "model")
    loaded = TitansForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.predict(), forecast, check_exact=True)
    ahead = pd.DataFrame({"a": [0.0], "b": [5.0]}, index=forecast.index[:1])
    cutoff = loaded.update(ahead).panel_.series[0].index[-1]
    assert np.isfinite(loaded.predict()).all(axis=None)
    whole = pd.concat([waves, ahead])
    part = loaded.backtest(whole, cutoffs=[cutoff])
    np.testing.assert_allclose(part["forecast"], loaded.predict().to_numpy().T.ravel(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("freq", "names"),
    [
        ("15min", ("minute", "hour", "weekday", "monthday", "month")),
        ("D", ("weekday", "monthday", "month")),
        ("W-MON", ("monthday", "month")),
        ("MS", ("month",)),
        ("YS-JAN", ()),
    ],
)
def test_calendar_by_frequency(freq, names):
    index = pd.date_range("2000-01-01", periods=30, freq=freq)
    assert calendar_names(True, to_panel(pd.DataFrame({"a": np.arange(30.0)}, index=index))) == names


def test_one_calendar_name_and_a_time_zone(waves):
    frame = waves.tz_localize("America/New_York")
    model = TitansForecaster(**SMALL, calendar="hour").fit(frame)
    assert model.calendar_ == ("hour",)
    result = model.backtest(frame, cutoffs=["2024-01-10 05:00"])
    assert str(result["ds"].iloc[0]) == "2024-01-10 06:00:00-05:00"


def test_calendar_features_go_round():
    index = pd.DatetimeIndex(["2024-01-01 00:00", "2024-01-01 06:00", "2024-01-01 12:30"])
    got = calendar_features(index, ["hour"])
    angle = 2 * np.pi * np.array([0, 6, 12.5]) / 24
    np.testing.assert_allclose(got, np.stack([np.sin(angle), np.cos(angle)], 1), atol=1e-6)
    assert calendar_features(index, []).shape == (3, 0)


def test_long_frames(data):
    y, X = data
    frames = []
    for frame in (y.iloc[:500], X):
        frame = frame.rename_axis("ds").reset_index()
        frames.append(pd.concat([frame.assign(unique_id="u"), frame.iloc[:300].assign(unique_id="v")]))
    long, beside = frames
    long = long[(long["unique_id"] == "u") | (long["ds"] < y.index[290])]
    model = TitansForecaster(**SMALL, future_covariates=["promo"]).fit(long, beside)
    forecast = model.predict(beside)
    assert forecast.groupby("unique_id")["ds"].first().to_dict() == {"u": y.index[500], "v": y.index[290]}
    gap = beside.copy()
    gap.loc[(gap["unique_id"] == "v") & (gap["ds"] == y.index[292]), "promo"] = NAN
    with pytest.raises(DataError, match="no value of 'promo' of series 'v' at 2024-01-13 04:00:00"):
        model.predict(gap)
    with pytest.raises(DataError, match="X lacks series 'v'"):
        model.predict(beside[beside["unique_id"] == "u"])
    with pytest.raises(DataError, match="X must be a long frame"):
        model.predict(X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X: m.predict(), "X is needed: the next 6 values of promo"),
        (lambda m, X: m.predict(X[["sensor"]]), "column 'promo' is missing|no column of values"),
        (lambda m, X: m.predict(X.iloc[:563]), "X has no value of 'promo' at 2024-01-24 11:00:00"),
        (lambda m, X: m.predict(X.assign(price=1.0)), "column 'price' is unknown"),
        (lambda m, X: m.predict(X.assign(promo="x")), "text"),
        (lambda m, X: m.predict(X.tz_localize("UTC")), "time zone UTC, those of y in None"),
        (lambda m, X: m.predict(X.set_axis(X.index + pd.Timedelta("1min"))), "is no step of the frequency h"),
        (lambda m, X: m.predict(X.to_numpy()), "X must be a frame of pandas, polars or pyarrow, not ndarray"),
        (lambda m, X: m.predict_quantiles(0.5), "X is needed"),
        (lambda m, X: m.predict_interval(), "X is needed"),
        (lambda m, X: m.surprise(X[["promo"]]), "column 'a' is missing"),
        (lambda m, X: m.observe_panel(m.panel_), "X is needed"),
    ],
)
def test_wrong_X(fitted, data, call, message):
    with pytest.raises(DataError, match=message):
        call(fitted, data[1])


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"future_covariates": ["price"]}, lambda X: X, "X has no column 'price'"),
        ({"future_covariates": ["promo"]}, lambda X: None, "X is needed: it holds promo"),
        ({"future_covariates": "promo"}, lambda X: X, "future_covariates must be different names"),
        ({"future_covariates": 3}, lambda X: X, "future_covariates must be different names"),
        ({"calendar": 3}, lambda X: X, "calendar must be 'auto', True, False or some of"),
        ({"calendar": ["hours"]}, lambda X: X, "calendar must be 'auto', True, False or some of minute"),
        ({}, lambda X: X.assign(a=1.0), "column 'a' is both in X and in y"),
        ({}, lambda X: X.assign(sensor=NAN).iloc[:, :1], "no value of 'sensor' in the time of y"),
        ({}, lambda X: X.set_axis(X.index + pd.Timedelta("9000h")), "no value of 'sensor'"),
        ({}, lambda X: X.rename_axis("ds").reset_index().assign(unique_id="x"), "X must be a wide frame"),
    ],
)
def test_wrong_fits(data, options, change, message):
    with pytest.raises(DataError, match=message):
        TitansForecaster(**SMALL | options).fit(data[0], change(data[1]))


def test_X_that_was_not_asked_for(waves):
    model = TitansForecaster(**SMALL).fit(waves)
    for call in (model.predict, model.predict_quantiles, model.predict_interval):
        with pytest.raises(DataError, match="fit saw no X: leave it out"):
            call(X=waves)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["fitted"]["covariates"].update(past=[]),
        lambda c: c["fitted"].update(calendar=["hours"]),
        lambda c: c["fitted"]["covariates"].pop("future"),
        lambda c: c["fitted"].pop("covariates"),
        lambda c: c["fitted"].update(covariates=[1]),
    ],
)
def test_changed_models_are_refused(fitted, tmp_path, change):
    import json

    path = fitted.save(tmp_path / "model") / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError):
        TitansForecaster.load(tmp_path / "model")


def test_text_becomes_columns_of_numbers(data, tmp_path):
    y, X = data
    text = X.assign(promo=np.where(X["promo"] > 0, "sale", "none"), sensor=pd.Categorical(["u", "v"] * 300))
    options = SMALL | {"future_covariates": ["promo"]}
    model = TitansForecaster(**options).fit(y.iloc[:560], text)
    columns = pd.DataFrame(
        {
            "sensor=u": (text["sensor"] == "u").astype(float),
            "sensor=v": (text["sensor"] == "v").astype(float),
            "promo=none": 1 - X["promo"],
            "promo=sale": X["promo"],
        }
    )
    by_hand = TitansForecaster(**SMALL, future_covariates=["promo=none", "promo=sale"]).fit(y.iloc[:560], columns)
    pd.testing.assert_frame_equal(model.predict(text), by_hand.predict(columns))
    model.save(tmp_path / "model")
    again = TitansForecaster.load(tmp_path / "model").update(y.iloc[560:570], text)
    pd.testing.assert_frame_equal(again.predict(text[["promo"]]), model.update(y.iloc[560:570], text).predict(text))
    with pytest.raises(DataError, match="column 'promo' holds 'gift', which fit did not see: none, sale"):
        model.predict(text.assign(promo="gift"))
    with pytest.raises(DataError, match="column 'promo' is missing"):
        model.predict(text[["sensor"]])
    many = text.assign(sensor=[f"s{i}" for i in range(600)])
    with pytest.raises(DataError, match="'sensor' holds 600 texts, as 's0': 50 are taken at most"):
        TitansForecaster(**options).fit(y, many)
    typo = X.astype({"sensor": object})
    typo.iloc[7, 0] = "1,5"
    with pytest.raises(DataError, match=r"column 'sensor' holds text: '1,5'"):
        TitansForecaster(**options).fit(y, typo)


def kinds(series=8, rows=60, seed=0):
    """Series that rise or fall when their signal comes, by their kind alone."""
    rng = np.random.default_rng(seed)
    frames, static = [], {}
    for number in range(series):
        signal = (rng.random(rows) < 0.2).astype(float)
        static[f"s{number}"] = ("up", 1.0) if number % 2 else ("down", -1.0)
        y = 0.1 * rng.normal(size=rows) + 3 * static[f"s{number}"][1] * signal
        days = pd.date_range("2024-01-01", periods=rows, freq="D")
        frames.append(pd.DataFrame({"unique_id": f"s{number}", "ds": days, "y": y, "signal": signal}))
    table = pd.DataFrame.from_dict(static, orient="index", columns=["kind", "sign"])
    return pd.concat(frames), table


def test_static_covariates_tell_series_apart(tmp_path):
    frame, static = kinds(60, 30)
    y, X = frame[["unique_id", "ds", "y"]], frame[["unique_id", "ds", "signal"]]
    known = y[y["ds"] < y["ds"].max() - pd.Timedelta("5D")]
    options = SMALL | {
        "future_covariates": ["signal"],
        "max_epochs": 8,
        "learning_rate": 2e-2,
        "context": 6,
        "patch": 6,
    }
    truth = y.merge(known, how="left", indicator=True).query("_merge == 'left_only'")["y"].to_numpy()
    models = [TitansForecaster(**options).fit(known, X, static=given) for given in (None, static)]
    errors = [float(np.abs(m.predict(X)["y"].to_numpy() - truth).mean()) for m in models]
    assert errors[1] < 0.9 * errors[0]
    models[1].save(tmp_path / "model")
    again = TitansForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.predict(X), models[1].predict(X))
    assert again.backtest(frame.drop(columns="signal"), X=X, n_windows=1)["forecast"].notna().all()
    alone = TitansForecaster(**options | {"future_covariates": None}).fit(
        known, static=static.reset_index(names="unique_id")
    )
    assert alone.covariates_.past == ("kind=down", "kind=up", "sign")
    alone.update(y[~y.index.isin(known.index)].query("ds > @known.ds.max()").iloc[:1])
    assert alone.predict()["y"].notna().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.iloc[:-1], "series 's7' has no row of static covariates"),
        (lambda s: pd.concat([s, s.iloc[:1]]), "series 's0' has two rows"),
        (lambda s: s[[]], "static has no column"),
        (lambda s: s.assign(sign=np.inf), "'sign' holds an infinite value"),
        (lambda s: s.assign(sign=NAN), "static has no value of 'sign'"),
        (lambda s: s.rename(columns={"sign": "signal"}), "'signal' is both in X and in static"),
        (lambda s: [1], "must be a frame|is needed is a frame"),
    ],
)
def test_wrong_static(change, message):
    frame, static = kinds()
    with pytest.raises(DataError, match=message):
        TitansForecaster(**SMALL).fit(frame.drop(columns="signal"), frame.drop(columns="y"), static=change(static))
    text = frame.drop(columns="y").assign(kind="up")  # each of its values is a column: so is one of static
    with pytest.raises(DataError, match="column 'kind=up' is both in X and in static"):
        TitansForecaster(**SMALL).fit(frame.drop(columns="signal"), text, static=static)
    with pytest.raises(DataError, match="a wide frame is one series"):
        TitansForecaster(**SMALL).fit(promoted()[0], static=static)
