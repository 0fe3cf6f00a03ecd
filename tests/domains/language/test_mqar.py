"""Recall tasks follow the published definition."""

import numpy as np
import pytest
import torch

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.language.mqar import Recall, RecallTask, recall_examples
from titans_seq.domains.language.recall import RecallMixture, RecallNetwork, recall_accuracy, recall_loader, recall_loss
from titans_seq.domains.language.vocabulary import IGNORED


@pytest.mark.parametrize(("length", "pairs", "rewrites"), [(64, 4, 0), (128, 8, 0), (64, 4, 4), (64, 4, 2)])
def test_examples(length, pairs, rewrites):
    task = RecallTask(length=length, pairs=pairs, rewrites=rewrites)
    tokens, labels = (t.numpy() for t in recall_examples(task, 200, 0))
    assert tokens.shape == labels.shape == (200, length)
    assert tokens.min() >= 0
    assert tokens.max() < 8192
    for row, wanted in zip(tokens, labels, strict=True):
        keys, values = row[0 : task.shown : 2], row[1 : task.shown : 2]
        assert ((keys >= 1) & (keys < 4096)).all()
        assert ((values >= 4096) & (values < 8192)).all()
        assert len(set(values)) == pairs + rewrites
        last = dict(zip(keys, values, strict=True))  # a later pair overwrites an earlier one
        assert len(last) == pairs
        asked = np.flatnonzero(wanted != IGNORED)
        assert len(asked) == pairs
        assert (asked >= task.shown).all()
        assert (asked % 2 == 0).all()
        assert {int(row[i]): int(wanted[i]) for i in asked} == last


def test_rewritten_keys_get_new_values():
    task = RecallTask(pairs=4, rewrites=2)
    tokens = recall_examples(task, 50, 0).tokens.numpy()
    first, again = tokens[:, 0:4:2], tokens[:, 8:12:2]
    assert (first == again).all()
    assert (tokens[:, 1:4:2] != tokens[:, 9:12:2]).all()


@pytest.mark.parametrize(
    ("task", "filled"), [((64, 4, 0), (64, 16, 0)), ((128, 8, 0), (128, 32, 0)), ((64, 4, 4), (64, 10, 10)),
                         ((64, 4, 2), (64, 12, 6)), ((12, 3, 0), (12, 3, 0))]
)  # fmt: skip
def test_filled(task, filled):
    length, pairs, rewrites = task
    full = RecallTask(length=length, pairs=pairs, rewrites=rewrites).filled()
    assert (full.length, full.pairs, full.rewrites) == filled
    assert (recall_examples(full, 20, 0).labels != IGNORED).sum(1).tolist() == [full.pairs] * 20


def test_same_seed_same_examples():
    a, b, c = (recall_examples(RecallTask(), 20, seed) for seed in (1, 1, 2))
    assert torch.equal(a.tokens, b.tokens)
    assert not torch.equal(a.tokens, c.tokens)


def test_distances_follow_the_power_law():
    """The first slot behind the pairs is the likeliest; p(n) ~ n^(a - 1) for the first of one pair."""
    task = RecallTask(length=64, pairs=1)
    labels = recall_examples(task, 20_000, 0).labels
    slots = ((labels != IGNORED).nonzero()[:, 1] - task.shown) // 2
    share = torch.bincount(slots, minlength=31) / len(slots)
    weights = torch.arange(1, 32) ** (0.01 - 1)
    torch.testing.assert_close(share, weights / weights.sum(), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": 0}, "pairs at least 1"),
        ({"rewrites": 5}, "rewrites must be 0 to pairs"),
        ({"length": 63}, "even"),
        ({"length": 14}, "at least 16"),
        ({"vocabulary": 8}, "vocabulary"),
        ({"power": 0.0}, "power"),
    ],
)
def test_wrong_tasks(changes, message):
    with pytest.raises(ValueError, match=message):
        RecallTask(**changes)


def test_small_vocabulary_still_draws_distinct_keys():
    tokens = recall_examples(RecallTask(pairs=4, vocabulary=12), 50, 0).tokens.numpy()
    assert all(len(set(row[0:8:2])) == 4 for row in tokens)


def test_network_learns_and_is_scored():
    task = RecallTask(length=16, pairs=2, vocabulary=16)
    network = RecallNetwork(BackboneConfig(variant="lmm", dim=16, layers=1, heads=1, chunk_size=4), task.vocabulary)
    examples = recall_examples(task, 64, 0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(10):
        for batch in recall_loader([Recall(*pair) for pair in zip(*(t.split(32) for t in examples), strict=True)]):
            loss = recall_loss(network, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]
    # a network that copies the label: accuracy counts asked places only
    perfect = Recall(examples.tokens, examples.labels)

    def oracle(tokens, asked):
        labels = dict(zip(map(tuple, examples.tokens.tolist()), examples.labels, strict=True))
        wanted = torch.stack([labels[tuple(row)] for row in tokens.tolist()])
        return torch.nn.functional.one_hot(wanted[asked], task.vocabulary).float()

    assert recall_accuracy(oracle, perfect, batch=10) == 1


def test_a_mixture_holds_every_task_and_new_examples():
    tasks = [RecallTask(length=16, pairs=2), RecallTask(length=32, pairs=3)]
    batches = list(RecallMixture(tasks, 64, 40, 0))
    assert {b.tokens.shape for b in batches} == {(4, 16), (2, 32)}
    for tokens, labels in batches:
        pairs = 2 if tokens.shape[1] == 16 else 3
        asked = (labels != IGNORED).sum(1)
        assert (asked[len(asked) // 2 :] == pairs).all()
        assert (asked[: len(asked) // 2] == tokens.shape[1] // 4).all()
    again = list(RecallMixture(tasks, 64, 40, 0))
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(batches, again, strict=True))
    assert len({tuple(row) for b in batches for row in b.tokens.tolist()}) == sum(len(b.tokens) for b in batches)


def test_overwritten_keys_come_alone_at_first():
    """Counted over passes: what was drawn in one is not drawn alone again in the next."""
    mixture = RecallMixture([RecallTask(length=16, pairs=2), RecallTask(length=32, pairs=3, rewrites=3)], 64, 30, 0, 40)
    first, second = ([batch.tokens.shape[1] for batch in mixture] for _ in range(2))
    assert set(first + second[:10]) == {32}
    assert set(second[10:]) == {16, 32}
