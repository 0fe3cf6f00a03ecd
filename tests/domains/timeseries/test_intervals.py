"""Quantiles that do not cross, intervals that cover."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import mean_pinball_loss

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.losses import pinball
from titans_seq.domains.timeseries.panel import to_panel
from titans_seq.errors import DataError, ModelError

SMALL = {"horizon": 6, "context": 24, "dim": 16, "layers": 1, "max_epochs": 2, "batch_size": 64, "patch": 12}


@pytest.fixture(scope="module")
def plain(waves):
    return TitansForecaster(**SMALL, quantiles=None).fit(waves)


@pytest.fixture(scope="module")
def spread(waves):
    return TitansForecaster(**SMALL, quantiles=[0.9, 0.1, 0.25, 0.75]).fit(waves)


@pytest.fixture(scope="module")
def long(waves):
    frame = waves.rename_axis("ds").reset_index()
    both = pd.concat([frame.assign(unique_id="x"), frame.iloc[:300].assign(unique_id="y", b=frame["b"] * 10)])
    return TitansForecaster(**SMALL, quantiles=(0.1, 0.9)).fit(both)


def test_pinball_against_scikit_learn():
    levels = (0.1, 0.5, 0.8)
    target, forecast = torch.randn(4, 2, 6), torch.randn(4, 2, 6, 3)
    target[1, 1] = torch.nan
    seen = torch.isfinite(target).numpy()
    expected = [
        mean_pinball_loss(target.numpy()[seen], forecast[..., i].numpy()[seen], alpha=a) for i, a in enumerate(levels)
    ]
    assert float(pinball(forecast, target, levels, torch.ones(4, 2, 1))) == pytest.approx(np.mean(expected), rel=1e-5)


def test_quantiles_cannot_cross_whatever_the_weights(waves):
    model = TitansForecaster(**SMALL, quantiles=(0.01, 0.2, 0.4, 0.6, 0.99)).fit(waves)
    with torch.no_grad():
        for p in model.network_.parameters():
            p.mul_(10)
    values = model.predict_quantiles((0.01, 0.2, 0.4, 0.5, 0.6, 0.99))
    for channel in "ab":
        assert (np.diff(values[channel].to_numpy(), axis=1) >= 0).all()


def test_wide_frames(plain, spread, waves):
    future = pd.date_range(waves.index[-1], periods=7, freq="h")[1:]
    for model in (plain, spread):
        alphas = [0.9, 0.1, 0.5, 0.33]
        quantiles = model.predict_quantiles(alpha=alphas)
        assert list(quantiles.columns) == [(c, a) for c in "ab" for a in alphas]
        assert list(quantiles.index) == list(future)
        assert quantiles.index.name == "when"
        for channel in "ab":
            assert (np.diff(quantiles[channel][sorted(alphas)].to_numpy(), axis=1) >= 0).all()
        interval = model.predict_interval(coverage=[0.5, 0.9])
        assert list(interval.columns) == [(c, s, e) for c in "ab" for s in (0.5, 0.9) for e in ("lower", "upper")]
        assert list(interval.index) == list(future)
        assert (interval.xs("upper", axis=1, level=2) >= interval.xs("lower", axis=1, level=2)).all(axis=None)
    np.testing.assert_allclose(spread.predict_quantiles(0.5)["a"][0.5], spread.predict()["a"], rtol=1e-5, atol=1e-6)
    middle = plain.predict_interval(0.9)["a"][0.9].mean(axis=1)
    np.testing.assert_allclose(middle, plain.predict()["a"], rtol=1e-4, atol=1e-5)


def test_long_frames(long):
    quantiles = long.predict_quantiles(alpha=[0.1, 0.9])
    assert list(quantiles.columns) == ["unique_id", "ds", "a-q0.1", "a-q0.9", "b-q0.1", "b-q0.9"]
    interval = long.predict_interval()
    assert list(interval.columns) == ["unique_id", "ds", "a-lo-90", "a-hi-90", "b-lo-90", "b-hi-90"]
    assert interval[["unique_id", "ds"]].equals(long.predict()[["unique_id", "ds"]])
    widths = (interval["b-hi-90"] - interval["b-lo-90"]).groupby(interval["unique_id"]).mean()
    assert widths["y"] > 3 * widths["x"], "each series is in its own units"


def test_saved_and_loaded(plain, spread, long, tmp_path):
    for name, model in (("plain", plain), ("spread", spread), ("long", long)):
        model.save(tmp_path / name)
        loaded = TitansForecaster.load(tmp_path / name)
        pd.testing.assert_frame_equal(loaded.predict_interval(0.8), model.predict_interval(0.8), check_exact=True)
        pd.testing.assert_frame_equal(loaded.predict_quantiles(), model.predict_quantiles(), check_exact=True)


def test_a_model_saved_without_calibration_still_forecasts(plain, tmp_path):
    from safetensors.torch import load_file, save_file

    path = plain.save(tmp_path / "model") / "model.safetensors"
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}
    errors = weights.pop("calibration")
    save_file(weights, path)
    loaded = TitansForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.predict(), plain.predict(), check_exact=True)
    with pytest.raises(DataError, match="no held-back windows"):
        loaded.predict_interval()
    save_file(weights | {"calibration": errors[:, :1].contiguous()}, path)
    with pytest.raises(ModelError, match="the calibration is"):
        TitansForecaster.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.predict_interval(1.0), "coverage must be different numbers between 0 and 1"),
        (lambda m: m.predict_interval("x"), "coverage must be numbers"),
        (lambda m: m.predict_quantiles([0.5, 0.5]), "alpha must be different numbers"),
        (lambda m: m.predict_quantiles([]), "alpha must be different numbers"),
        (lambda m: m.predict_interval(0.999), r"coverage 0.999 takes 999 held-back windows, there are \d+"),
    ],
)
def test_wrong_shares(plain, call, message):
    with pytest.raises(DataError, match=message):
        call(plain)


def test_levels_that_nothing_is_known_of(plain, spread):
    with pytest.raises(DataError, match=r"0.05 lies outside of the quantiles 0.1 to 0.9"):
        spread.predict_quantiles([0.05, 0.5])
    with pytest.raises(DataError, match=r"alpha 0.001 takes 999 held-back windows, there are \d+"):
        plain.predict_quantiles([0.001])


@pytest.mark.parametrize("quantiles", [[0.0, 0.5], [1.5], ["x"], 3])
def test_wrong_quantiles(waves, quantiles):
    with pytest.raises(DataError):
        TitansForecaster(**SMALL, quantiles=quantiles).fit(waves)


def test_the_rank_is_right_for_finite_samples():
    errors = torch.arange(1.0, 20.0).reshape(19, 1, 1, 1)  # 19 windows: rank ceil(20 * 0.9) = 18
    calibration = Calibration(errors, (0.5,))
    lower, upper = calibration.band(torch.zeros(1, 1, 1, 1), 0.9)
    assert (float(lower), float(upper)) == (-18.0, 18.0)
    assert float(calibration.band(torch.zeros(1, 1, 1, 1), 0.95)[1]) == 19.0
    with pytest.raises(DataError, match="takes 20 held-back windows, there are 19"):
        calibration.band(torch.zeros(1, 1, 1, 1), 0.951)
    assert calibration.quantile(0.1) == pytest.approx(2.0)
    errors[3] = torch.nan
    with pytest.raises(DataError, match="takes 19 held-back windows, there are 18"):
        Calibration(errors, (0.5,)).band(torch.zeros(1, 1, 1, 1), 0.95)


def noise(rows, seed):
    """A wave whose noise grows and falls with the hour, so that a good interval is not of one width."""
    rng = np.random.default_rng(seed)
    hours = np.arange(rows)
    day = 2 * np.pi * hours / 24
    a = np.sin(day) + (0.1 + 0.3 * (np.cos(day) > 0)) * rng.normal(size=rows)
    b = 3 + rng.exponential(size=rows)
    return pd.DataFrame({"a": a, "b": b}, index=pd.date_range("2024-01-01", periods=rows, freq="h"))


@pytest.mark.parametrize("quantiles", [None, [0.05, 0.95]])
def test_intervals_cover_held_out_data(quantiles):
    frame = noise(4000, 0)
    model = TitansForecaster(**SMALL, quantiles=quantiles, validation_fraction=0.3).fit(frame.iloc[:2500])
    assert model.calibration_.errors.shape[0] > 500
    state, panel = model._state(), to_panel(frame)
    cutoffs = torch.arange(2500, 3995)
    forecast = state.forecast_at(panel, None, [cutoffs], state.anew(panel), torch.zeros(1).long())[0]
    values = (frame.to_numpy() - model.scaling_.mean.numpy()) / model.scaling_.scale.numpy()
    target = torch.tensor(values[cutoffs.unsqueeze(1) + torch.arange(6)]).movedim(-1, 1)
    for coverage in (0.5, 0.8, 0.9):
        lower, upper = model.calibration_.band(forecast, coverage)
        covered = ((lower <= target) & (target <= upper)).float().mean(0)  # (C, H)
        assert abs(float(covered.mean()) - coverage) < 0.03
        assert (covered > coverage - 0.07).all(), "every channel and step of its own"


def test_too_short_to_calibrate(waves):
    model = TitansForecaster(**SMALL | {"max_epochs": 1}).fit(waves.iloc[:33])
    with pytest.raises(DataError, match=r"takes 19 held-back windows, there are \d+"):
        model.predict_interval(0.95)
