"""States as containers: what they do to all tensors, and what is no state of a configuration."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from titans_seq.state import State, check_counter, check_state, template


@dataclass
class Inner(State):
    keys: Tensor
    fill: Tensor

    def check_counters(self):
        check_counter(self.fill, 0, 3, "fill")


@dataclass
class Outer(State):
    layers: list[State]
    weights: list[Tensor]
    tail: Tensor | None


def make(batch=2, grown=0):
    inner = Inner(torch.arange(batch * 2 * grown * 3.0).view(batch, 2, grown, 3), torch.arange(batch))
    return Outer([inner], [torch.ones(batch, 4), torch.zeros(batch, 5)], None)


def test_names_and_sizes():
    state = make(grown=1)
    assert [name for name, _ in state.named_tensors()] == ["layers.0.keys", "layers.0.fill", "weights.0", "weights.1"]
    assert template(state) == {"layers.0.keys": (2, 1, 3), "layers.0.fill": (), "weights.0": (4,), "weights.1": (5,)}
    assert state.nbytes == 4 * (2 * 2 * 3 + 2 * 4 + 2 * 5) + 8 * 2


def test_rows_are_picked_copied_moved_and_cut_from_the_graph():
    state = make(grown=1)
    picked = state.select([1, 1, 0])
    assert picked.layers[0].fill.tolist() == [1, 1, 0]
    assert torch.equal(picked.layers[0].keys[2], state.layers[0].keys[0])
    assert state.select(torch.tensor([True, False]).nonzero().squeeze(1).int()).layers[0].fill.tolist() == [0]
    fork = state.fork()
    fork.weights[0].zero_()
    assert bool((state.weights[0] == 1).all())
    wide = state.to(dtype=torch.float64)
    assert (wide.weights[0].dtype, wide.layers[0].fill.dtype) == (torch.float64, torch.int64)
    assert state.to(device="meta").weights[0].is_meta
    assert not state.to(device="meta").layers[0].fill.is_meta
    graph = state.map(lambda t: t.requires_grad_() * 2 if t.is_floating_point() else t)
    assert graph.weights[0].requires_grad
    assert not graph.detach().weights[0].requires_grad
    assert [t.shape for t in state.replace_tensors(picked.tensors()).tensors()] == [t.shape for t in picked.tensors()]


def test_what_fits():
    expected = template(make())
    for state, batch in ((make(), 2), (make(grown=3), 2), (make(3), None)):
        check_state(state, expected, batch)


def spoiled(name, change):
    state = make()
    return state.replace_tensors([change(t) if n == name else t for n, t in state.named_tensors()])


@pytest.mark.parametrize(
    ("state", "batch", "message"),
    [
        (torch.zeros(2), 2, "the state must be what an earlier call returned, not Tensor$"),
        (make(3), 2, r"layers\.0\.keys is \(3, 2, 0, 3\), expected \(2, 2, 0, 3\)$"),
        (spoiled("weights.1", lambda t: t[:1]), None, r"weights\.1 is \(1, 5\), expected \(2, 5\)$"),
        (spoiled("weights.0", lambda t: t[:, :3]), 2, r"weights\.0 is \(2, 3\), expected \(2, 4\)$"),
        (spoiled("layers.0.fill", lambda t: t[0]), None, r"layers\.0\.fill is \(\), expected \(2,\)$"),
        (spoiled("layers.0.keys", lambda t: t[:, :1]), 2, r"keys is \(2, 1, 0, 3\), expected \(2, 2, 0, 3\)$"),
        (spoiled("layers.0.keys", lambda t: t[..., :2]), 2, r"keys is \(2, 2, 0, 2\), expected \(2, 2, 0, 3\)$"),
        (spoiled("layers.0.keys", lambda t: t[0]), None, r"is \(2, 0, 3\), expected"),
        (Outer([make().layers[0]], [torch.ones(2, 4)], None), 2, "it has 3 tensors, expected 4$"),
        (
            Outer([make().layers[0]], make().weights, torch.ones(2)),
            2,
            r"tail is \(2,\), expected nothing of that name$",
        ),
    ],
)
def test_what_does_not(state, batch, message):
    with pytest.raises(ValueError, match=message):
        check_state(state, template(make()), batch)


def test_only_a_cache_that_starts_empty_may_grow():
    """And only on its second axis."""
    full = template(make(grown=2))
    check_state(make(grown=2), full, 2)
    for grown in (1, 3):
        with pytest.raises(ValueError, match="expected"):
            check_state(make(grown=grown), full, 2)
    flat = {"weights.0": (0,), "weights.1": (5,), "layers.0.keys": (2, 0, 3), "layers.0.fill": ()}
    with pytest.raises(ValueError, match=r"weights\.0"):
        check_state(make(), flat, 2)


def test_counters():
    state = make(4)
    state.check_counters()  # 0 to 3
    state.layers[0].fill = torch.tensor([0, 4])
    with pytest.raises(ValueError, match=r"^fill must lie between 0 and 3, not \[0, 4\]$"):
        state.check_counters()
    for wrong in (torch.tensor([-1]), torch.tensor([1.0])):
        with pytest.raises(ValueError, match="fill"):
            check_counter(wrong, 0, 3, "fill")
