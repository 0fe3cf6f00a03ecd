"""One model on two processes, started by torchrun: the same numbers as on one, and the same on both.

    torchrun --standalone --nproc-per-node 2 tests/test_ddp.py FOLDER

writes what each process has found, FOLDER/0.json and FOLDER/1.json.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from titans_seq.domains.language import TitansLM
from titans_seq.errors import TrainingError
from titans_seq.training import History, TrainingConfig, train
from titans_seq.training.processes import take_share

pytestmark = pytest.mark.slow

TEXT = "To be, or not to be, that is the question. " * 30
CONFIG = TrainingConfig(max_epochs=30, learning_rate=0.03, patience=1, average=0.9)


@dataclass
class Pairs:
    x: Tensor
    y: Tensor

    def __len__(self):
        return len(self.x)


class Net(nn.Module):
    """One of its layers has no part in the loss."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.other = nn.Linear(2, 2)

    def forward(self, x):
        return self.layers(x)


def batches(seed):
    """Batches of 5, 4 and 1 rows, in a new order in each pass."""
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(seed))
    parts = [Pairs(x[rows], x[rows].sum(1, keepdim=True)) for rows in (slice(5), slice(5, 9), slice(9, 10))]
    return DataLoader(parts, batch_size=None, shuffle=True)


def loss(network, batch):
    return (network(batch.x) - batch.y).square().mean()


def told(history):
    weights = {name: t.flatten().tolist() for name, t in history.best.items()}
    return history.to_dict() | {"best": weights}


def curve():
    network, epochs = Net(), []
    history = train(network, loss, batches(0), batches(1), CONFIG, lambda h: epochs.append(len(h.train_loss)))
    assert all(torch.equal(t, history.best[name]) for name, t in network.state_dict().items())
    return told(history) | {"epochs": epochs}


def language():
    size = {"dim": 16, "layers": 1, "heads": 2, "window": 8, "chunk_size": 4, "context": 16, "batch_size": 3}
    steps = {"epoch_steps": 8, "max_epochs": 2, "learning_rate": 1e-2}
    model = TitansLM(**size, **steps, carry=True, optimizer="adamw").fit(TEXT)  # Muon rounds to bfloat16 on its way
    return told(model.history_) | {"bits": model.bits_per_byte("to be")}


def chance():
    drawn = []

    def noted(network, batch):
        drawn.append(float(torch.rand(())))
        return loss(network, batch)

    train(Net(), noted, batches(0), batches(1), TrainingConfig(max_epochs=1))
    return drawn


def error(spoil):
    """What is said where the batch of 5 has become `spoil` of it."""

    def gather(batch):
        return spoil(batch) if len(batch) == 5 else batch

    loader = DataLoader(batches(0).dataset, batch_size=None, collate_fn=gather)
    with pytest.raises(TrainingError) as caught:
        train(Net(), loss, loader, batches(1), TrainingConfig(max_epochs=1))
    return str(caught.value)


def diverged():
    return error(lambda b: Pairs(b.x.index_fill(0, torch.tensor(1), torch.nan), b.y))  # a row of the second process


def undivided():
    return error(lambda b: (b.x, b.y))


def interrupted():
    """Ctrl-C in the launcher after three epochs."""
    network, history = Net(), History()

    def stop(seen):
        if len(seen.train_loss) == 3:
            os.kill(os.getppid(), signal.SIGINT)

    config = TrainingConfig(max_epochs=10**6, patience=10**6)
    with pytest.raises(KeyboardInterrupt):
        train(network, loss, batches(0), batches(1), config, stop, history)
    best = all(torch.equal(t, history.best[name]) for name, t in network.state_dict().items())
    return {"epochs": len(history.validation_loss), "best": best, "training": network.training}


CASES = (curve, language, chance, diverged, undivided, interrupted)


def main(folder):
    torch.set_num_threads(1)
    found = {case.__name__: case() for case in CASES}
    Path(folder, f"{os.environ['RANK']}.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What both processes have found."""
    folder = tmp_path_factory.mktemp("ddp")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__, folder]
    told = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    paths = [folder / "0.json", folder / "1.json"]
    assert all(p.exists() for p in paths), told.stderr
    return [json.loads(p.read_text()) for p in paths]


@pytest.mark.parametrize("case", [curve, language])
def test_losses_and_weights_are_those_of_one_process(found, case):
    one, many = case(), found[0][case.__name__]
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(many[name], one[name], rtol=1e-4)
    for name, weights in one["best"].items():
        np.testing.assert_allclose(many["best"][name], weights, rtol=1e-3, atol=1e-5)


def test_both_processes_have_the_same_history_and_model(found):
    first, second = found
    assert first["curve"].pop("epochs") == list(range(1, len(first["curve"]["train_loss"]) + 1))
    assert second["curve"].pop("epochs") == [], "only the first process reports"
    assert first["curve"] == second["curve"]
    assert len(first["curve"]["train_loss"]) < CONFIG.max_epochs, "it stops early"
    assert first["language"] == second["language"]


def test_each_process_has_a_dropout_of_its_own(found):
    training = [f["chance"][:3] for f in found]
    assert not set(training[0]) & set(training[1])


def test_errors_are_told_by_both(found):
    for f in found:
        assert "the loss was not finite in epoch 1, step" in f["diverged"]
        assert "must be a tensor or a dataclass of tensors, not tuple" in f["undivided"]


def test_ctrl_c_leaves_both_with_the_best(found):
    for f in found:
        assert f["interrupted"]["epochs"] >= 3
        assert f["interrupted"]["best"]
        assert not f["interrupted"]["training"]


@pytest.mark.parametrize(("rows", "count"), [(1, 2), (4, 2), (5, 2), (2, 3), (7, 3)])
def test_shares_add_up_to_the_batch(rows, count):
    x = torch.randn(rows, 3, dtype=torch.float64)
    parts = [take_share(Pairs(x, -x), rank, count) for rank in range(count)]
    mean = sum(weight * part.x.mean() for part, weight in parts) / count
    torch.testing.assert_close(mean, x.mean())
    assert all(len(part) >= 1 and torch.equal(part.y, -part.x) for part, _ in parts)
    assert sum(len(part) for part, weight in parts if weight) == rows


def test_a_command_trains_one_model_and_writes_it_once(tmp_path):
    """`titans-seq classify` on two processes: files, table and run of the first alone, and one process's scores."""
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("GGCA" if k % 2 else "AATC"), 40)) + f",{k % 2}" for k in range(80)]
    (tmp_path / "dna.csv").write_text("sequence,label\n" + "\n".join(rows) + "\n")
    settings = ["--set", "dim=8", "heads=1", "motifs=8", "max_epochs=2", "batch_size=10"]
    command = ["-m", "titans_seq.cli", "classify", "--data", "dna.csv", *settings, "--tracking-uri", "off"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    scores, printed = [], []
    for output, before in (("one", []), ("two", launch)):
        done = subprocess.run(
            [sys.executable, *before, *command, "--output", output],
            cwd=tmp_path, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        scores.append(json.loads((tmp_path / output / "metrics.json").read_text())["models"]["titans"])
        printed.append(done.stdout.count("k-mer regression"))
    assert printed == [1, 1]
    assert scores[0]["auroc"] == pytest.approx(scores[1]["auroc"], abs=0.1)
    assert {p.name for p in (tmp_path / "one").iterdir()} == {p.name for p in (tmp_path / "two").iterdir()}


if __name__ == "__main__":
    main(sys.argv[1])
