"""The price of writing and forgetting: what it adds to the loss, and what it teaches a memory."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from titans_seq.backbone import BackboneConfig, TitansBackbone
from titans_seq.memory import NeuralMemory
from titans_seq.memory.record import record_gates
from titans_seq.training import TrainingConfig, train
from titans_seq.training.gate_cost import gate_price
from titans_seq.training.seed import temporary_seed


def backbone(variant="lmm", **options):
    with temporary_seed(0):
        return TitansBackbone(
            BackboneConfig(variant=variant, dim=16, layers=2, heads=2, window=8, chunk_size=8, **options)
        )


def loss(network, batch):
    return F.mse_loss(network(batch[:, :-1])[0], batch[:, 1:])


def batches(count, seed):
    x = torch.randn(count, 4, 33, 16, generator=torch.Generator().manual_seed(seed))
    return DataLoader([*x.cumsum(2).sin()], batch_size=None)


@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal"])
def test_the_price_is_that_of_the_mean_roots(variant):
    network = backbone(variant, initial_step=0.09, half_life=17)
    with gate_price(network, 2.0) as price:
        network(torch.randn(3, 20, 16))
    forget = math.sqrt(1 - 2 ** (-1 / 17))
    assert price[0].item() == pytest.approx(2 * (0.3 + forget), rel=0.1)
    price[0].backward()
    assert all(float(m.gates.weight.grad.abs().sum()) > 0 for m in {g.memory for g in gates_of(network)})
    assert not any(m.gates._forward_hooks for m in {g.memory for g in gates_of(network)}), "no longer watched"


def gates_of(network):
    with record_gates(network) as gates:
        network(torch.randn(3, 20, 16, generator=torch.Generator().manual_seed(2)))
    return gates


def test_gates_that_are_closed_have_gradients():
    network = backbone()
    for module in network.modules():
        if isinstance(module, NeuralMemory):
            torch.nn.init.constant_(module.gates.bias, -1e4)
    with gate_price(network, 2.0) as price:
        network(torch.randn(3, 20, 16))
    price[0].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(("variant", "cost"), [("lmm", 0.0), ("attention", 2.0)])
def test_what_costs_nothing_has_no_price(variant, cost):
    network = backbone(variant)
    with gate_price(network, cost) as price:
        network(torch.randn(3, 20, 16))
    assert price == []


def test_a_price_makes_a_memory_write_and_forget_less_and_is_no_part_of_the_loss():
    found, histories = {}, {}
    for cost in (0.0, 1e-9, 20.0):
        network = backbone()
        config = TrainingConfig(max_epochs=8, patience=8, learning_rate=1e-2, gate_cost=cost)
        histories[cost] = train(network, loss, batches(8, 0), batches(2, 1), config)
        found[cost] = gates_of(network)
    assert histories[1e-9].train_loss == pytest.approx(histories[0.0].train_loss, rel=1e-3)
    assert histories[1e-9].validation_loss == pytest.approx(histories[0.0].validation_loss, rel=1e-3)
    assert max(histories[20.0].train_loss) < 2, "the price is not logged as loss"
    for name in ("step_size", "forget"):
        free, dear = (torch.stack([getattr(g, name).mean() for g in found[cost]]).mean().item() for cost in (0.0, 20.0))
        assert dear < 0.6 * free, name


def test_what_is_not_yet_known_costs_nothing():
    bases = {}
    for base in (0.0, 50.0):
        network = backbone()
        config = TrainingConfig(max_epochs=8, patience=8, learning_rate=1e-2, gate_cost=20.0)
        train(network, lambda n, b, base=base: loss(n, b) + base, batches(8, 0), batches(2, 1), config)
        bases[base] = torch.stack([g.step_size.mean() for g in gates_of(network)]).mean().item()
    assert bases[0.0] < 0.7 * bases[50.0]
