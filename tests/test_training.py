"""The one training path: seeds, the best weights, divergence, Ctrl-C."""

import signal
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from titans_seq.errors import TrainingError
from titans_seq.training import History, TrainingConfig, train


def batches(count=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 16, 3, generator=g)
    return DataLoader([torch.cat([b, b.sum(1, keepdim=True)], 1) for b in x], batch_size=None)


def loss(network, batch):
    return (network(batch[:, :3]) - batch[:, 3:]).square().mean()


def judge(network):
    with torch.no_grad():
        return sum(float(loss(network, b)) for b in batches(2, 1)) / 2


def test_it_learns_and_ends_with_the_best_weights():
    network = nn.Linear(3, 1)
    before = judge(network)
    history = train(network, loss, batches(), batches(2, 1), TrainingConfig(max_epochs=20, learning_rate=0.1))
    judged = judge(network)
    assert judged < 0.1 * before
    assert judged == pytest.approx(min(history.validation_loss), rel=1e-4)
    assert len(history.train_loss) == len(history.validation_loss)


def test_the_average_is_what_is_validated_and_kept():
    trained, validated = [], []

    def noted(network, batch):
        (trained if network.training else validated).append(network.weight.detach().clone())
        return loss(network, batch)

    network = nn.Linear(3, 1)
    config = TrainingConfig(max_epochs=2, learning_rate=0.1, average=0.3)
    history = train(network, noted, batches(), batches(2, 1), config)
    mean = trained[1]  # after the first of 8 steps
    for step, weight in enumerate(trained[2:9], 2):
        decay = min(0.3, step / (step + 9))  # 0.3 from the fourth step on
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(validated[0], mean)
    assert torch.equal(network.weight, validated[2 * history.best_epoch])


def test_the_rate_has_fallen_when_the_time_is_over():
    calls = list[tuple[bool, torch.Tensor]]()

    def noted(network, batch):
        calls.append((network.training, network.weight.detach().clone()))
        return loss(network, batch)

    network = nn.Linear(3, 1)
    config = TrainingConfig(max_epochs=100_000, patience=100_000, learning_rate=0.01, max_minutes=0.05)
    train(network, noted, batches(100), batches(2, 1), config)
    trained = [weight for training, weight in calls if training]
    steps = [float((b - a).abs().max()) for a, b in pairwise(trained)]  # of AdamW: near the rate at the most
    assert max(steps) > 0.005
    assert max(steps[-5:]) < 0.002
    assert not calls[-1][0]  # the end is validated too


def test_divergence_before_the_first_epoch():
    with pytest.raises(TrainingError, match="epoch 1, step 3"):
        train(nn.Linear(3, 1), _bad_at(2), batches(), batches(2, 1), TrainingConfig())


def test_later_divergence_keeps_the_best():
    network = nn.Linear(3, 1)
    with pytest.warns(UserWarning, match="epoch 2, step 11; the best epoch before is kept"):
        history = train(network, _bad_at(10), batches(), batches(2, 1), TrainingConfig(learning_rate=0.1))
    assert len(history.validation_loss) == 1
    assert all(torch.isfinite(p).all() for p in network.parameters())


def _bad_at(step):
    seen = []

    def spoiled(network, batch):
        value = loss(network, batch)
        if network.training:
            seen.append(1)
            if len(seen) == step + 1:
                return value * torch.nan
        return value

    return spoiled


def test_ctrl_c_returns_the_best_weights_and_the_signal_handler():
    network, history = nn.Linear(3, 1), History()
    handler = signal.getsignal(signal.SIGINT)

    def stop(seen):
        if len(seen.validation_loss) == 3:
            signal.raise_signal(signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    config = TrainingConfig(max_epochs=50, learning_rate=0.1)
    with pytest.raises(KeyboardInterrupt):
        train(network, loss, batches(), batches(2, 1), config, stop, history)
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(history.validation_loss) == 3
    judged = judge(network)
    assert judged == pytest.approx(min(history.validation_loss), rel=1e-4)


def test_a_script_that_is_terminated_does_not_end_as_if_all_were_well():
    network, history = nn.Linear(3, 1), History()
    handler = signal.getsignal(signal.SIGTERM)
    config = TrainingConfig(max_epochs=50, learning_rate=0.1)
    with pytest.raises(SystemExit) as stop:
        train(network, loss, batches(), batches(2, 1), config, lambda _: signal.raise_signal(signal.SIGTERM), history)
    assert stop.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is handler
    assert judge(network) == pytest.approx(min(history.validation_loss), rel=1e-4)


def test_numpy_counts_are_counts():
    config = TrainingConfig(max_epochs=np.int64(2), patience=np.int32(1))
    assert len(train(nn.Linear(3, 1), loss, batches(), batches(2, 1), config).train_loss) == 2


@pytest.mark.parametrize(
    "options", [{"max_epochs": 0}, {"max_epochs": True}, {"patience": 0}, {"patience": 2.5}, {"learning_rate": 0.0}]
)
def test_wrong_config(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        TrainingConfig(**options)
