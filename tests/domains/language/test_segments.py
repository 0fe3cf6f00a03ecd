"""Segments of a text, and a memory that is carried across them. Axes: B batch, T tokens."""

from itertools import pairwise

import pytest
import torch

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.language.evaluation import stream_loss, stream_losses, window_loss
from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
from titans_seq.domains.language.segments import (
    ConsecutiveSegments,
    EvenSegments,
    GrowingSegments,
    NextTokenLoss,
    Segments,
    loader,
    next_token_loss,
)
from titans_seq.training import temporary_seed

TEXT = torch.arange(100, dtype=torch.int16)


def network(variant="mag", **changes):
    size = {"dim": 16, "layers": 2, "heads": 2, "window": 8, "chunk_size": 4}
    with temporary_seed(0):
        config = BackboneConfig(variant=variant, **size | changes)
        return LanguageNetwork(LanguageConfig(vocabulary=100, backbone=config))


def test_random_segments_are_runs_of_the_text_and_others_in_each_pass():
    segments = GrowingSegments(TEXT, 8, 32, 5, seed=0)
    first, second = list(segments), list(segments)
    assert len(first) == len(loader(segments)) == 5
    for batch in first:
        assert batch.tokens.shape == (4, 9)
        assert batch.fresh.all()
        assert (batch.tokens.diff(dim=1) == 1).all()
    assert not torch.equal(first[0].tokens, second[0].tokens)
    again = list(GrowingSegments(TEXT, 8, 32, 5, seed=0))
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(first, again, strict=True))
    last = max(int(b.tokens.max()) for b in GrowingSegments(TEXT, 8, 512, 20, seed=0))
    assert last == 99, "the end of the text is read too"


def test_segments_grow_as_training_goes_on():
    segments = GrowingSegments(torch.arange(5000), 1024, 2048, 1, seed=0)
    shapes = {}
    for progress in (0.0, 0.1, 0.2, 0.4, 0.5, 0.64, 0.99, 1.0):
        segments.progress = progress
        shapes[progress] = segments.shape()
        assert next(iter(segments)).tokens.shape == (shapes[progress][1], shapes[progress][0] + 1)
    assert [*shapes.values()] == [(64, 32), (64, 32), (128, 16), (256, 8), (512, 4), (1024, 2), (1024, 2), (1024, 2)]
    assert GrowingSegments(torch.arange(50), 20, 64, 1, 0).shape() == (20, 3)
    assert GrowingSegments(torch.arange(500), 300, 64, 1, 0).shape() == (75, 1)


def test_training_tells_the_segments_how_far_it_is():
    from titans_seq.training import TrainingConfig, train

    seen = []

    class Noted(GrowingSegments):
        def shape(self):
            seen.append(self.progress)
            return super().shape()

    segments = loader(Noted(torch.arange(100) % 7, 64, 64, 10, 0))
    train(network(), NextTokenLoss(), segments, segments, TrainingConfig(max_epochs=2))
    assert seen[0] == 0
    assert max(seen) > 0.9
    assert sorted(seen[:10]) == seen[:10]


def test_consecutive_segments_read_on():
    batches = list(loader(ConsecutiveSegments(TEXT, 8, 4, 6, seed=1)))
    assert [bool(b.fresh.all()) for b in batches] == [True] + [False] * 5
    assert not any(b.fresh.any() for b in batches[1:])
    for before, after in pairwise(batches):
        assert torch.equal(before.tokens[:, -1], after.tokens[:, 0])
    assert len(batches[0].tokens[:, 0].unique()) > 1


def test_rows_begin_anew_elsewhere_by_chance():
    batches = list(ConsecutiveSegments(TEXT, 8, 4, 500, seed=1, restart=0.1))
    fresh = torch.stack([b.fresh for b in batches])
    assert fresh[0].all()
    assert float(fresh[1:].float().mean()) == pytest.approx(0.1, abs=0.02)
    on = torch.stack([a.tokens[:, -1] == b.tokens[:, 0] for a, b in pairwise(batches)])
    assert on[~fresh[1:]].all()
    assert float(on[fresh[1:]].float().mean()) < 0.1


def test_validation_reads_each_token_once_in_order():
    apart = list(EvenSegments(TEXT, 8, 5, carry=False))
    assert torch.equal(torch.cat([b.tokens[:, 1:].flatten() for b in apart]), torch.arange(1, 97, dtype=torch.int16))
    assert all(b.fresh.all() for b in apart)
    on = list(EvenSegments(TEXT, 8, 3, carry=True))
    rows = torch.cat([b.tokens[:, 1:] for b in on], 1)
    assert torch.equal(rows.flatten(), torch.arange(1, 97, dtype=torch.int16))
    assert [bool(b.fresh.any()) for b in on] == [True, False, False, False]


@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal", "attention", "gru"])
def test_carrying_equals_one_long_segment(variant):
    net, loss = network(variant).eval(), NextTokenLoss()
    tokens = torch.randint(100, (2, 33), generator=torch.Generator().manual_seed(0))
    pieces = [Segments(tokens[:, i : i + 9], torch.full((2,), i == 0)) for i in range(0, 32, 8)]
    with torch.no_grad():
        carried = torch.stack([loss(net, piece) for piece in pieces]).mean()
        whole = next_token_loss(net(tokens[:, :-1])[0], tokens[:, 1:]).mean()
        apart = torch.stack([NextTokenLoss()(net, piece) for piece in pieces]).mean()
    torch.testing.assert_close(carried, whole)
    assert abs(float(apart - whole)) > 1e-4


@pytest.mark.parametrize("variant", ["mac", "mag"])
def test_a_row_that_begins_anew_forgets_and_the_others_do_not(variant):
    net = network(variant).eval()
    tokens = torch.randint(100, (2, 17))
    loss = NextTokenLoss()
    with torch.no_grad():
        loss(net, Segments(tokens[:, :9], torch.tensor([True, True])))
        mixed = loss(net, Segments(tokens[:, 8:], torch.tensor([False, True])))
        on = next_token_loss(net(tokens[:1, :-1])[0], tokens[:1, 1:])[:, 8:].mean()
        anew = next_token_loss(net(tokens[1:, 8:-1])[0], tokens[1:, 9:]).mean()
    torch.testing.assert_close(mixed, (on + anew) / 2)


def test_gradients_stop_at_the_segment_but_the_memory_does_not():
    net, loss = network("lmm"), NextTokenLoss()
    tokens = torch.randint(100, (2, 17))
    loss(net, Segments(tokens[:, :9], torch.tensor([True, True]))).backward()
    net.zero_grad()
    carried = loss(net, Segments(tokens[:, 8:], torch.tensor([False, False])))
    carried.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    # a state that was carried in replaces the learned first memory; forgetting still leads back to it
    assert net.embedding.weight.grad.abs().sum() > 0
    net.eval()
    held = loss.states[True]
    assert all(not t.requires_grad for t in held.tensors())


def test_losses_over_a_text_in_any_pieces():
    net = network("mal").eval().requires_grad_(False)
    tokens = torch.randint(100, (60,), dtype=torch.int16)
    whole = next_token_loss(net(tokens[:-1].unsqueeze(0))[0], tokens[1:].unsqueeze(0))[0]
    cut = torch.cat(list(stream_losses(net, [tokens[:1], tokens[1:7], tokens[7:]])))
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-5)
    assert stream_loss(net, tokens) == pytest.approx(float(whole.mean()), rel=1e-5)
    parts = [tokens[i : i + 9] for i in range(0, 59, 8)]
    apart = torch.cat([next_token_loss(net(p[:-1].unsqueeze(0))[0], p[1:].unsqueeze(0))[0] for p in parts])
    assert len(apart) == 59
    assert window_loss(net, tokens, 8, batch=3) == pytest.approx(float(apart.mean()), rel=1e-5)


@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal"])
def test_a_memory_that_begins_as_an_induction_head(variant):
    from titans_seq.memory import NeuralMemory
    from titans_seq.memory.gates import half_life

    size = {"dim": 16, "layers": 2, "heads": 2, "window": 8, "chunk_size": 4}
    plain, other = (
        LanguageNetwork(LanguageConfig(vocabulary=100, backbone=BackboneConfig(variant=variant, **size, **options)))
        for options in ({"induction": False}, {"half_life": 700.0})
    )
    for module in other.modules():
        if isinstance(module, NeuralMemory):
            queries, keys, values = module.conv.unflatten(0, (3, 2, -1)).argmax(-1)
            assert queries.tolist() == [[3] * 8, [3, 2] * 4], "the token itself, and the last two"
            assert keys.tolist() == [[2] * 8, [2, 1] * 4], "as many tokens before"
            assert (values == 3).all()
            torch.testing.assert_close(
                half_life(module.gates.bias[-2:].sigmoid()), torch.full((2,), 700.0), rtol=1e-3, atol=0
            )
    tokens = torch.randint(100, (1, 12))
    assert not torch.allclose(plain(tokens)[0], other(tokens)[0])
