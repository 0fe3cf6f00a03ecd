"""The network, the losses, the baselines and the metrics."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error

from titans_seq import BackboneConfig
from titans_seq.domains.timeseries.baselines import DLinear, SeasonalNaive, forward_fill
from titans_seq.domains.timeseries.losses import LOSSES
from titans_seq.domains.timeseries.metrics import Scores, seasonal_naive_error
from titans_seq.domains.timeseries.network import ForecastConfig, ForecastNetwork

NAN = float("nan")


def build(**options):
    torch.manual_seed(0)
    backbone = BackboneConfig(dim=8, layers=1, heads=2, chunk_size=4)
    config = ForecastConfig(**{"context": 30, "horizon": 7, "patch": 8, "stride": 5, "backbone": backbone} | options)
    return ForecastNetwork(config).eval()


@pytest.mark.parametrize(("context", "patch", "stride"), [(30, 8, 5), (7, 7, 7), (5, 8, 8), (96, 16, 8), (1, 1, 1)])
def test_any_context_is_covered_by_patches(context, patch, stride):
    net = build(context=context, patch=patch, stride=stride)
    past = torch.randn(2, 3, context, requires_grad=True)
    out = net(past)
    assert out.shape == (2, 3, 7)
    out.sum().backward()
    assert context == 1 or (past.grad.abs().sum((0, 1)) > 0).all()


def test_scale_and_level_of_a_window_pass_through():
    net = build()
    past = torch.randn(2, 3, 30)
    with torch.no_grad():
        torch.testing.assert_close(net(past * 50 + 7), net(past) * 50 + 7, rtol=1e-3, atol=1e-2)


def test_missing_values_are_not_read():
    net = build()
    past = torch.randn(2, 3, 30)
    past[0, 1, 4:9] = NAN
    past[1, 2] = NAN
    with torch.no_grad():
        out = net(past)
    assert torch.isfinite(out).all()
    other = past.clone()
    other[0, 0] += 1.0
    with torch.no_grad():
        assert torch.equal(net(other)[0, 1:], out[0, 1:]), "channels share weights, never values"


def test_losses_ignore_missing_targets():
    forecast = torch.randn(4, 2, 6, requires_grad=True)
    target = torch.randn(4, 2, 6)
    target[0, 0, 3] = NAN
    seen = torch.isfinite(target)
    error = (forecast - target)[seen]
    torch.testing.assert_close(LOSSES["mse"](forecast, target), error.square().mean())
    torch.testing.assert_close(LOSSES["mae"](forecast, target), error.abs().mean())
    for loss in LOSSES.values():
        (grad,) = torch.autograd.grad(loss(forecast, target), forecast)
        assert grad[0, 0, 3] == 0
        assert (grad[seen] != 0).all()
        assert torch.isfinite(loss(forecast, torch.full_like(target, NAN)))


def test_spectral_loss_of_complete_targets():
    forecast, target = torch.randn(2, 4, 2, 6).unbind()
    expected = 0.8 * torch.fft.rfft(forecast - target, norm="ortho").abs().mean()
    expected = expected + 0.2 * (forecast - target).square().mean()
    torch.testing.assert_close(LOSSES["spectral"](forecast, target), expected)


def test_forward_fill():
    x = torch.tensor([[NAN, 1.0, NAN, NAN, 2.0, NAN]])
    torch.testing.assert_close(forward_fill(x), torch.tensor([[NAN, 1.0, 1.0, 1.0, 2.0, 2.0]]), equal_nan=True)


def test_seasonal_naive():
    past = torch.tensor([[[9.0, 1.0, 2.0, 3.0, 4.0, NAN, 6.0]]])
    naive = SeasonalNaive(horizon=5, season=3)
    # the last season is 4, NaN, 6; the missing one is taken from the season before: 2
    torch.testing.assert_close(naive(past), torch.tensor([[[4.0, 2.0, 6.0, 4.0, 2.0]]]))
    assert (naive(torch.full((1, 1, 6), NAN)) == 0).all()


def test_dlinear_is_linear_and_learns_a_line():
    torch.manual_seed(0)
    net = DLinear(20, 5)
    x, y = torch.randn(2, 3, 2, 20).unbind()
    with torch.no_grad():
        torch.testing.assert_close(net(x + y) + net(0 * x), net(x) + net(y), rtol=1e-4, atol=1e-5)
        assert torch.isfinite(net(x.masked_fill(torch.rand_like(x) < 0.3, NAN))).all()


def test_scores_against_scikit_learn():
    rng = np.random.default_rng(0)
    target, forecast = rng.normal(size=(2, 5, 3, 4))
    naive = np.array([1.0, 2.0, NAN])
    unit = np.broadcast_to(naive, (5, 3))
    target[0, 0, 0] = NAN
    scores = Scores.from_forecasts(target, forecast, unit)
    seen = np.isfinite(target)
    assert scores.mae == pytest.approx(mean_absolute_error(target[seen], forecast[seen]))
    ratio = np.abs(target - forecast) / unit[..., None]
    assert scores.mase == pytest.approx(np.nanmean(ratio))
    assert np.isnan(Scores.from_forecasts(np.full((1, 1, 1), NAN), np.zeros((1, 1, 1)), np.ones((1, 1))).mse)


def test_unit_of_the_mase():
    values = np.array([[0.0], [1.0], [4.0], [NAN], [5.0]])
    assert seasonal_naive_error(values, 1)[0] == pytest.approx((1 + 3) / 2)
    assert seasonal_naive_error(values, 2)[0] == pytest.approx((4 + 1) / 2)
    assert np.isnan(seasonal_naive_error(values, 9)[0])
