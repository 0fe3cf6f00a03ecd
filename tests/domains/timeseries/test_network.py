"""The network, the losses, the baselines and the metrics."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error

from titans_seq import BackboneConfig
from titans_seq.domains.timeseries.baselines import DLinear, Drift, SeasonalNaive, forward_fill
from titans_seq.domains.timeseries.linear import LinearConfig
from titans_seq.domains.timeseries.losses import mse, pinball
from titans_seq.domains.timeseries.metrics import Scores, seasonal_naive_error
from titans_seq.domains.timeseries.network import ForecastConfig, ForecastNetwork
from titans_seq.domains.timeseries.reading import Places, Reader
from titans_seq.domains.timeseries.tokens import Table

NAN = float("nan")


def build(**options):
    torch.manual_seed(0)
    backbone = BackboneConfig(dim=8, layers=1, heads=2, chunk_size=4)
    config = ForecastConfig(**{"context": 12, "horizon": 7, "patch": 4, "channels": 3, "backbone": backbone} | options)
    network = ForecastNetwork(config).eval()
    with torch.no_grad():
        network.head.weight.normal_()  # which begins at zero
    return network


def read(network, series, location="mean"):
    """Forecasts (C, N, H, Q) of one series (T, C) at its tokens, by a linear path that says nothing."""
    config = network.config
    linear = LinearConfig(config.context, config.horizon, location, 1, 1.0, None, None, False)
    reader = Reader(config, linear)
    table = Table([series], reader.front, config.horizon)
    rows, channel = table.streams
    ends = torch.arange(config.patch, len(series) + 1, config.patch).expand(len(channel), -1)
    places = Places(rows, channel, ends, torch.full_like(ends, config.patch))
    reading = reader.read(table, places, torch.zeros(1, config.context + 1, config.horizon))
    with torch.no_grad():
        return reading.forecast(network(reading.tokens)[0])


def test_it_adds_nothing_before_it_is_trained():
    network = ForecastNetwork(build().config).eval()
    out = read(network, torch.randn(40, 3))
    middle = out[..., network.config.levels.index(0.5)]
    assert torch.equal(middle, middle[..., :1].expand_as(middle)), "the level of the look-back, at each step"


@pytest.mark.parametrize("location", ["mean", "last"])
def test_scale_and_level_of_a_series_pass_through(location):
    net, series = build(), 100 * torch.randn(40, 3)
    first = read(net, series, location)
    torch.testing.assert_close(read(net, series + 700, location), first + 700, rtol=1e-3, atol=1e-1)
    # the spread is a feature: only what the linear path says scales with it


def test_missing_values_are_not_read():
    net, series = build(), torch.randn(40, 3)
    series[4:9, 1] = NAN
    series[:, 2] = NAN
    out = read(net, series)
    assert torch.isfinite(out).all()
    other = series.clone()
    other[:, 0] += torch.randn(40)
    assert torch.equal(read(net, other)[1:], out[1:]), "channels share weights, never values"


def test_what_lies_ahead_is_not_read():
    net, series = build(), torch.randn(40, 3)
    other = series.clone()
    other[20:] += 5
    first, second = read(net, series), read(net, other)
    torch.testing.assert_close(first[:, :5], second[:, :5])
    assert not torch.allclose(first[:, 5], second[:, 5])


def test_far_more_than_the_look_back_is_read():
    net, series = build(), torch.randn(400, 3)
    other = series.clone()
    other[:40] = other[:40] * 3 + 5
    assert not torch.allclose(read(net, series)[:, -1], read(net, other)[:, -1], atol=1e-6)


def test_losses_ignore_missing_targets():
    forecast = torch.randn(4, 2, 6, requires_grad=True)
    target = torch.randn(4, 2, 6)
    target[0, 0, 3] = NAN
    seen = torch.isfinite(target)
    torch.testing.assert_close(mse(forecast, target), (forecast - target)[seen].square().mean())

    def median(forecast, target):
        return pinball(forecast.unsqueeze(-1), target, (0.5,), torch.ones(4, 2, 1))

    torch.testing.assert_close(median(forecast, target), (forecast - target)[seen].abs().mean() / 2)
    for loss in (mse, median):
        (grad,) = torch.autograd.grad(loss(forecast, target), forecast)
        assert grad[0, 0, 3] == 0
        assert (grad[seen] != 0).all()
        assert torch.isfinite(loss(forecast, torch.full_like(target, NAN)))


def test_forward_fill():
    x = torch.tensor([[NAN, 1.0, NAN, NAN, 2.0, NAN]])
    torch.testing.assert_close(forward_fill(x), torch.tensor([[NAN, 1.0, 1.0, 1.0, 2.0, 2.0]]), equal_nan=True)


def test_seasonal_naive():
    past = torch.tensor([[[9.0, 1.0, 2.0, 3.0, 4.0, NAN, 6.0]]])
    naive = SeasonalNaive(horizon=5, season=3)
    # the last season is 4, NaN, 6; the missing one is taken from the season before: 2
    torch.testing.assert_close(naive(past), torch.tensor([[[4.0, 2.0, 6.0, 4.0, 2.0]]]))
    assert (naive(torch.full((1, 1, 6), NAN)) == 0).all()


def test_drift():
    past = torch.tensor([[[1.0, NAN, 2.0, 4.0], [NAN, NAN, NAN, NAN]]])
    torch.testing.assert_close(Drift(2)(past), torch.tensor([[[5.0, 6.0], [0.0, 0.0]]]))


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
