"""AdamW, and Muon on matrices beside it."""

import copy

import pytest
import torch
from torch import nn

from titans_seq.training import TrainingConfig, train
from titans_seq.training.optimizer import Together, make_optimizer


def build():
    torch.manual_seed(0)
    return nn.ModuleDict({"embedding": nn.Embedding(20, 8), "hidden": nn.Linear(8, 12), "out": nn.Linear(12, 3)})


def test_adamw_decays_matrices_only():
    network = build()
    optimizer = make_optimizer(network, TrainingConfig(weight_decay=0.1, learning_rate=2e-3))
    matrices, vectors = optimizer.param_groups
    assert [p.ndim for p in matrices["params"]] == [2, 2, 2]
    assert [p.ndim for p in vectors["params"]] == [1, 1]
    assert (matrices["weight_decay"], vectors["weight_decay"], matrices["lr"]) == (0.1, 0.0, 2e-3)


def test_muon_takes_the_hidden_matrices_that_are_large_enough():
    network = build()
    optimizer = make_optimizer(network, TrainingConfig(optimizer="muon", learning_rate=2e-3, weight_decay=0.3))
    muon, matrices, vectors = optimizer.param_groups
    assert muon["params"] == [network["hidden"].weight]
    assert {id(p) for p in matrices["params"]} == {id(network["embedding"].weight), id(network["out"].weight)}
    assert muon["lr"] == pytest.approx(6e-3)
    assert muon["lr"] * muon["weight_decay"] == pytest.approx(matrices["lr"] * matrices["weight_decay"])
    assert vectors["weight_decay"] == 0
    assert isinstance(make_optimizer(nn.Linear(2, 2), TrainingConfig(optimizer="muon")), torch.optim.AdamW)


def test_two_optimizers_are_one_with_one_state():
    grads = torch.Generator().manual_seed(1)

    def run(optimizer, network, steps):
        for _ in range(steps):
            for p in network.parameters():
                p.grad = torch.randn(p.shape, generator=grads)
            for group in optimizer.param_groups:
                group["lr"] *= 0.5
            optimizer.step()

    config = TrainingConfig(optimizer="muon")
    network = build()
    whole = make_optimizer(network, config)
    assert isinstance(whole, Together)
    before = [p.detach().clone() for p in network.parameters()]
    run(whole, network, 2)
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    other = build()
    other.load_state_dict(network.state_dict())
    again = make_optimizer(other, config)
    again.load_state_dict(copy.deepcopy(whole.state_dict()))
    assert [group["lr"] for group in again.param_groups] == [group["lr"] for group in whole.param_groups]
    place = grads.get_state()
    run(whole, network, 2)
    grads.set_state(place)
    run(again, other, 2)
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_training_with_muon_learns_with_a_rate_that_falls():
    torch.manual_seed(0)
    network, target = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 8)), torch.randn(10, 8)
    data = [torch.randn(64, 10) for _ in range(40)]

    def loss(network, x):
        return (network(x) - x @ target).square().mean()

    batches = torch.utils.data.DataLoader(data, batch_size=None)
    config = TrainingConfig(optimizer="muon", learning_rate=1e-2, max_epochs=4, patience=9)
    history = train(network, loss, batches, batches, config)
    assert history.validation_loss[-1] < 0.5 * history.validation_loss[0]


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match="optimizer must be one of adamw, muon, not 'sgd'"):
        TrainingConfig(optimizer="sgd")
