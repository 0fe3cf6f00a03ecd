"""A channel that another one foretells."""

import numpy as np
import pandas as pd
import pytest
import torch

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.domains.timeseries.linear import LinearConfig
from titans_seq.domains.timeseries.tokens import Table

SMALL = {"horizon": 6, "context": 16, "patch": 4, "dim": 8, "layers": 1, "max_epochs": 1, "steps_per_epoch": 2}
LAG = 6


def led(rows=900, seed=0):
    """A channel, the same six steps later, and one of noise."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=rows + LAG)
    for i in range(1, len(first)):
        first[i] += 0.8 * first[i - 1]
    values = {
        "first": first[LAG:],
        "second": first[:-LAG] + 0.2 * rng.normal(size=rows),
        "noise": rng.normal(size=rows),
    }
    return pd.DataFrame(values, index=pd.date_range("2024-01-01", periods=rows, freq="h"))


def error(y, channel):
    model = TitansForecaster(**SMALL).fit(y.iloc[:700])
    found = model.backtest(y.iloc[600:], stride=3)
    found = found[found["channel"] == channel]
    return model, float((found["forecast"] - found["y"]).abs().mean())


def test_what_other_channels_foretell_is_used(tmp_path):
    y = led()
    model, together = error(y, "second")
    _, alone = error(y[["second"]], "second")
    assert model.stream_.linear.config.across == 16
    assert together < 0.5 * alone
    model.save(tmp_path / "model")
    again = TitansForecaster.load(tmp_path / "model")
    for start in range(700, 730, 7):
        again.update(y.iloc[start : min(start + 7, 730)])
    pd.testing.assert_frame_equal(again.predict(), model.update(y.iloc[700:730]).predict(), atol=1e-5)


def test_channels_that_foretell_nothing_are_left_out():
    rng = np.random.default_rng(1)
    walks = pd.DataFrame(rng.normal(size=(900, 3)).cumsum(0), pd.date_range("2024", periods=900, freq="h"), list("abc"))
    assert TitansForecaster(**SMALL).fit(walks).stream_.linear.config.across == 0


def test_last_steps_of_all_channels():
    g = torch.Generator().manual_seed(0)
    series = [torch.randn(30, 2, generator=g), torch.randn(20, 2, generator=g)]
    series[0][:4, 1] = torch.nan
    table = Table(series, 8, 3)
    found = table.beside(torch.tensor([0, 1]), torch.tensor([[6, 20], [9, 20]]), 3, 8)
    for row, (s, ends) in enumerate(zip(series, ([6, 20], [9, 20]), strict=True)):
        for place, end in enumerate(ends):
            window = s[max(0, end - 8) : end]
            expected = (window[-3:] - window.nanmean(0)).mT
            torch.testing.assert_close(found[row, place], expected.nan_to_num(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{"across": 20}, {"across": 2, "sharing": None}, {"across": -1}])
def test_wrong_keys(options):
    good = {"context": 16, "horizon": 3, "location": "last", "season": 1, "penalty": 1.0, "sharing": 1.0}
    LinearConfig(**good, half_life=None, learns=False, across=16)
    with pytest.raises(ValueError, match="across"):
        LinearConfig(**good | {"half_life": None, "learns": False} | options)
