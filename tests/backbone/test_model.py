"""The backbone: one contract, whole or in pieces, masked or not."""

import pytest
import torch

from titans_seq import BackboneConfig, TitansBackbone


def build(dtype=torch.float64, **options):
    torch.manual_seed(0)
    return TitansBackbone(BackboneConfig(**{"dim": 8, "layers": 2, "heads": 2, "chunk_size": 4} | options)).to(dtype)


@pytest.mark.parametrize("cuts", [[1, 2, 3], [4, 8], [5], [7, 8, 15]])
def test_any_cut_gives_the_same(cuts):
    net = build()
    x = torch.randn(2, 18, 8, dtype=torch.float64)
    whole, _ = net(x)
    state, outputs = None, []
    for start, stop in zip([0, *cuts], [*cuts, 18], strict=True):
        h, state = net(x[:, start:stop], state)
        outputs.append(h)
    torch.testing.assert_close(torch.cat(outputs, 1), whole, rtol=0, atol=1e-10)


def test_masked_tokens_change_nothing():
    net = build()
    x = torch.randn(3, 15, 8, dtype=torch.float64)
    mask = torch.rand(3, 15) < 0.6
    h, _ = net(x, mask=mask)
    assert (h[~mask] == 0).all()
    for row in range(3):
        alone, _ = net(x[row : row + 1, mask[row]])
        torch.testing.assert_close(h[row, mask[row]], alone[0], rtol=0, atol=1e-10)


def test_causal():
    net = build()
    x = torch.randn(1, 12, 8, dtype=torch.float64, requires_grad=True)
    h, _ = net(x)
    for t in range(12):
        (g,) = torch.autograd.grad(h[:, t].sum(), x, retain_graph=True)
        assert g[:, t + 1 :].abs().sum() == 0
        assert g[:, t].abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "mamba"}, "variant must be"),
        ({"layers": 0}, "layers must be"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"heads": 3}, "multiple of heads"),
        ({"mlp_expansion": 0}, "mlp_expansion"),
    ],
)
def test_wrong_config(options, message):
    with pytest.raises(ValueError, match=message):
        BackboneConfig(**{"dim": 8, "heads": 2} | options)


def test_config_from_dict_names_what_it_does_not_know():
    with pytest.raises(ValueError, match="unknown backbone settings: depht"):
        BackboneConfig.from_dict({"dim": 8, "depht": 3})


def test_state_of_another_network():
    net = build()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    _, state = net(x)
    with pytest.raises(ValueError, match=r"has \d+ tensors, expected"):
        build(layers=3)(x, state)
    with pytest.raises(ValueError, match="another batch or configuration"):
        net(x[:1], state)
