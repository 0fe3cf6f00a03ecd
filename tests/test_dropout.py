"""Dropout: shares, scale, seeds, gradients, and nothing at all outside training."""

import pytest
import torch

from titans_seq.dropout import Dropout


@pytest.mark.parametrize("p", [0.001, 0.2, 0.5, 0.9])
def test_share_and_scale(p):
    torch.manual_seed(0)
    x = torch.ones(300, 501, requires_grad=True)
    out = Dropout(p)(x)
    y = out.detach()
    share = max(1, round(256 * p)) / 256
    assert abs(float((y == 0).float().mean()) - share) < 0.003
    assert torch.allclose(y[y != 0], torch.tensor(1 / (1 - share)))
    assert abs(float(y.mean()) - 1) < 0.02
    out.sum().backward()
    torch.testing.assert_close(x.grad, y)
    for axis in (0, 1):  # every place alike: eight features share a draw
        assert float((y == 0).float().mean(axis).sub(share).abs().max()) < 0.15


def test_seeds_decide():
    x = torch.ones(1000)
    torch.manual_seed(3)
    first = Dropout(0.5)(x)
    assert not torch.equal(first, Dropout(0.5)(x))
    torch.manual_seed(3)
    assert torch.equal(first, Dropout(0.5)(x))


def test_nothing_outside_training():
    x = torch.randn(5, 7)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert Dropout(0.5)(torch.zeros(0, 3)).shape == (0, 3)
