"""The chunk form equals the token loop, in values and in every gradient."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.memory.reference import random_inputs, token_loop
from titans_seq.memory.functional import scan_chunks
from titans_seq.memory.gates import chunk_gates, decay

pytestmark = pytest.mark.usefixtures("scan_path")


def compare(inputs, weights, surprise, gradient_tolerance=1e-9, **options):
    """Outputs, weights, surprise, and gradients of a scalar of the output, against the loop."""
    expected = token_loop(*inputs, weights, surprise, **options)
    got = scan_chunks(*inputs, weights, surprise, **options)
    for e, g in zip([expected[0], *expected[1], *expected[2]], [got[0], *got[1], *got[2]], strict=True):
        assert e.shape == g.shape
        torch.testing.assert_close(g, e, rtol=0, atol=1e-9)
    leaves = [t for t in [*inputs, *weights, *surprise, *(options.get("anchor") or [])] if t is not None]
    probe = torch.randn(expected[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def gradients(y):
        return torch.autograd.grad((y * probe).sum() + y.square().sum(), leaves, allow_unused=True)

    for leaf, e, g in zip(leaves, gradients(expected[0]), gradients(got[0]), strict=True):
        e, g = (torch.zeros_like(leaf) if t is None else t for t in (e, g))
        torch.testing.assert_close(g, e, rtol=0, atol=gradient_tolerance)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(("length", "chunk_size"), [(1, 4), (7, 3), (8, 4), (9, 64), (12, 1)])
def test_equals_token_loop(depth, length, chunk_size):
    compare(*random_inputs(2, 2, length, 3, depth), chunk_size=chunk_size)


@pytest.mark.parametrize("momentum", [True, False])
@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize("activation", ["silu", "gelu", "sparse"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_switch(momentum, forget, activation, depth):
    inputs, weights, surprise = random_inputs(2, 3, 11, 4, depth, momentum=momentum, forget=forget)
    if activation == "sparse":  # weights so large that some hidden units are open
        weights = [(12 * w).detach().requires_grad_() for w in weights[:-1]] + weights[-1:]
    compare(inputs, weights, surprise, chunk_size=4, activation=activation)


@pytest.mark.parametrize("momentum", [True, False])
@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize("chunk_size", [1, 4, 16])
def test_online_is_chunk_size_one(momentum, forget, chunk_size):
    inputs, weights, surprise = random_inputs(2, 2, 10, 4, 1, momentum=momentum, forget=forget)
    compare(inputs, weights, surprise, chunk_size=chunk_size, online=True)
    online = scan_chunks(*inputs, weights, surprise, chunk_size=chunk_size, online=True)
    single = scan_chunks(*inputs, weights, surprise, chunk_size=1)
    torch.testing.assert_close(online[0], single[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("depth", "online"), [(1, False), (1, True), (2, False), (3, False)])
@pytest.mark.parametrize("momentum", [True, False])
def test_forgetting_to_an_anchor(depth, online, momentum):
    inputs, weights, surprise = random_inputs(2, 2, 9, 3, depth, momentum=momentum)
    anchor = [(w + 0.1 * torch.randn_like(w)).detach().requires_grad_() for w in weights]
    compare(inputs, weights, surprise, chunk_size=4, anchor=anchor, online=online)
    compare(inputs, anchor, surprise, chunk_size=4, anchor=anchor, online=online)


@pytest.mark.parametrize("depth", [1, 3])
def test_clipped_errors(depth):
    compare(*random_inputs(2, 2, 9, 3, depth), chunk_size=4, clip=0.5)


@pytest.mark.parametrize(("depth", "options"), [(2, {"clip": 1.0}), (1, {"online": True}), (3, {})])
@pytest.mark.parametrize("gates", [{}, {"momentum": False}, {"forget": False}])
@pytest.mark.parametrize("anchored", [True, False])
def test_gradcheck(depth, options, gates, anchored):
    """Of the weights and the surprise behind the last token too."""
    inputs, weights, surprise = random_inputs(1, 1, 5, 2, depth, **gates)
    anchor = [(w + 0.1 * torch.randn_like(w)).detach().requires_grad_() for w in weights] if anchored else []
    leaves = [t for t in (*inputs, *weights, *surprise, *anchor) if t is not None]

    def outputs(*given):
        rest = list(given)
        tokens = [None if t is None else rest.pop(0) for t in inputs]
        w, s, a = rest[:depth], rest[depth : 2 * depth], rest[2 * depth :]
        y, w, s = scan_chunks(*tokens, w, s, chunk_size=2, anchor=a or None, **options)
        return (y, *w, *s)

    assert torch.autograd.gradcheck(outputs, leaves)


def test_second_derivatives_are_an_error():
    inputs, weights, surprise = random_inputs(1, 1, 5, 2, 2)
    y, _, _ = scan_chunks(*inputs, weights, surprise, chunk_size=2)
    (first,) = torch.autograd.grad(y.square().sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_a_surprise_that_rows_share():
    inputs, weights, _ = random_inputs(3, 2, 7, 3, 2)
    _, _, shared = random_inputs(1, 2, 7, 3, 2)
    got = scan_chunks(*inputs, weights, shared, chunk_size=3)
    expected = scan_chunks(*inputs, weights, [s.expand(3, -1, -1, -1) for s in shared], chunk_size=3)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize("length", [1, 5])
def test_any_strides(length):
    """Columns of other tensors, axes of length 1 with strides of their own."""
    inputs, weights, surprise = random_inputs(2, 2, length, 3, 2)
    expected = scan_chunks(*inputs, weights, surprise, chunk_size=4)
    odd = [t.detach().mT.contiguous().mT if t.ndim == 4 else t.detach().flip(2).flip(2) for t in inputs]
    matrices = [[w.detach().mT.contiguous().mT for w in kind] for kind in (weights, surprise)]
    got = scan_chunks(*odd, *matrices, chunk_size=4)
    torch.testing.assert_close(got[0], expected[0].detach(), rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    length=st.integers(1, 14),
    width=st.integers(1, 4),
    depth=st.integers(1, 4),
    chunk_size=st.integers(1, 16),
    momentum=st.booleans(),
    forget=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_shape(batch, heads, length, width, depth, chunk_size, momentum, forget, seed):
    inputs = random_inputs(batch, heads, length, width, depth, momentum=momentum, forget=forget, seed=seed)
    # Large gradients are compared relative to their size: the loop itself is exact only to rounding.
    compare(*inputs, chunk_size=chunk_size, gradient_tolerance=1e-7)


def test_gates_of_exactly_zero_and_one():
    inputs, weights, surprise = random_inputs(1, 2, 8, 3, 2)
    with torch.no_grad():
        inputs[4][:, :, 2], inputs[4][:, :, 5] = 0.0, 1.0
        inputs[5][:, :, 3], inputs[5][:, :, 6] = 1.0, 0.0
    compare(inputs, weights, surprise, chunk_size=8)


def test_shared_weights_and_no_surprise():
    inputs, weights, surprise = random_inputs(3, 2, 10, 4, 2)
    shared = [w[:1] for w in weights]
    expected = scan_chunks(
        *inputs, [w.expand(3, *w.shape[1:]) for w in shared], [0 * s for s in surprise], chunk_size=4
    )
    got = scan_chunks(*inputs, shared, chunk_size=4)
    for e, g in zip([expected[0], *expected[1], *expected[2]], [got[0], *got[1], *got[2]], strict=True):
        torch.testing.assert_close(g, e, rtol=0, atol=1e-12)


def test_batch_rows_never_mix():
    inputs, weights, surprise = random_inputs(3, 2, 10, 4, 2)
    y, _, _ = scan_chunks(*inputs, weights, surprise, chunk_size=4)
    grads = torch.autograd.grad(y[1].sum(), inputs, allow_unused=True)
    for g in grads:
        assert g[1].abs().sum() > 0
        assert g[0].abs().sum() == 0
        assert g[2].abs().sum() == 0


@pytest.mark.parametrize("online", [False, True])
def test_no_token_sees_the_future(online):
    inputs, weights, surprise = random_inputs(1, 1, 9, 3, 1 if online else 2)
    y, _, _ = scan_chunks(*inputs, weights, surprise, chunk_size=4, online=online)
    for t in range(9):
        for g in torch.autograd.grad(y[:, :, t].sum(), inputs, retain_graph=True):
            assert g[:, :, t + 1 :].abs().sum() == 0
        own = torch.autograd.grad(y[:, :, t].sum(), inputs[2], retain_graph=True)[0]
        assert own[:, :, t].abs().sum() > 0, "the read at t includes the write of t"


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_decay_is_the_product_of_gates(length):
    gate = torch.rand(2, length, dtype=torch.float64)
    got = decay(gate)
    for t in range(length):
        for k in range(length):
            expected = gate[:, k + 1 : t + 1].prod(-1) if k <= t else torch.zeros(2, dtype=torch.float64)
            torch.testing.assert_close(got[:, t, k], expected, rtol=0, atol=1e-14)


def test_slots_without_a_token_change_nothing():
    theta, eta, alpha = torch.rand(3, 5, dtype=torch.float64)
    plain = chunk_gates(theta, eta, alpha)
    at = torch.tensor([0, 2, 3, 5, 6])

    def spread(t, empty):
        return torch.full((8,), empty, dtype=torch.float64).index_copy(0, at, t)

    real = spread(torch.ones_like(theta), 0.0)
    padded = chunk_gates(spread(theta, 0.0), spread(eta, 1.0), spread(alpha, 0.0), real)
    torch.testing.assert_close(padded.read[at][:, at], plain.read)
    torch.testing.assert_close(padded.read[-1, at], plain.read[-1])
    torch.testing.assert_close(padded.keep[-1], plain.keep[-1])
    torch.testing.assert_close(padded.past[-1], plain.past[-1])
    torch.testing.assert_close(padded.write[at], plain.write)
    torch.testing.assert_close(padded.momentum, plain.momentum)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(1, 2, 0, 3)}, "q, k, v must be"),
        ({"step_size": torch.zeros(1, 2, 4)}, r"step_size must be \(B, H, T\)"),
        ({"weights": [torch.zeros(1, 2, 3, 5)]}, "do not lead from k to v"),
        ({"weights": []}, "weights must be"),
        ({"surprise": [torch.zeros(1, 2, 5, 3)]}, "surprise must be"),
        ({"anchor": [torch.zeros(1, 2, 5, 3)]}, "anchor must be"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"online": True, "clip": 1.0}, "online needs depth 1 and no clip"),
    ],
)
def test_wrong_input(change, message):
    zeros = torch.zeros(1, 2, 5, 3)
    gate = torch.zeros(1, 2, 5)
    call = {"q": zeros, "k": zeros, "v": zeros, "step_size": gate, "momentum": gate, "forget": gate,
            "weights": [torch.zeros(1, 2, 3, 3)], "surprise": None} | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        scan_chunks(**call)


def test_no_token_at_all():
    none = torch.zeros(1, 2, 0, 3)
    gate = torch.zeros(1, 2, 0)
    with pytest.raises(ValueError, match="T = 0"):
        scan_chunks(none, none, none, gate, gate, gate, [torch.zeros(1, 2, 3, 3)])
