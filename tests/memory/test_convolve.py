"""Convolution, SiLU and unit length: the kernel equals torch, and any cut equals the whole."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from titans_seq import kernel
from titans_seq.memory import MemoryConfig, NeuralMemory
from titans_seq.memory.convolve import convolve, memory_inputs, next_tail


def inputs(batch, length, heads, size, taps, seed=0):
    g = torch.Generator().manual_seed(seed)
    shapes = [(batch, length, 4 * heads * size), (batch, taps - 1, 3 * heads * size), (3 * heads * size, taps)]
    return [torch.randn(*s, generator=g, dtype=torch.float64).requires_grad_() for s in shapes]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 9),
    heads=st.integers(1, 3),
    size=st.integers(1, 5),
    taps=st.integers(2, 5),
    seed=st.integers(0, 100),
)
def test_kernel_equals_torch(monkeypatch, kernel_problem, batch, length, heads, size, taps, seed):
    if kernel_problem:
        pytest.skip(kernel_problem)
    leaves = inputs(batch, length, heads, size, taps, seed)
    found = []
    for usable in (lambda x: False, lambda x: True):
        with monkeypatch.context() as patch:
            patch.setattr(kernel, "is_usable", usable)
            out = memory_inputs(*leaves, heads)
        g = torch.Generator().manual_seed(1)
        loss = sum((torch.randn(o.shape, generator=g, dtype=o.dtype) * o).sum() for o in out)
        found.append([*out, *torch.autograd.grad(loss, leaves)])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


def test_cuts_equal_the_whole():
    x, tail, weight = inputs(2, 11, 2, 3, 4)
    x = x[..., :18]
    whole, parts, before = convolve(x, tail, weight), [], tail
    for part in x.split([1, 2, 5, 3], 1):
        parts.append(convolve(part, before, weight))
        before = next_tail(part, before, 4, None)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(before, x[:, -3:], rtol=0, atol=0)


def test_tail_of_rows_of_different_lengths():
    x, tail, _ = inputs(3, 5, 1, 2, 4)
    x = x[..., :6]
    got = next_tail(x, tail, 4, torch.tensor([0, 2, 5]))
    torch.testing.assert_close(got, torch.stack([tail[0], torch.cat([tail[1, 2:], x[1, :2]]), x[2, 2:]]))


def test_tail_does_not_keep_the_input_alive():
    x, tail, _ = inputs(1, 100, 1, 2, 4)
    assert next_tail(x.detach(), tail.detach(), 4, None).untyped_storage().nbytes() < 1000


def test_a_single_head_asks_for_as_many_tokens_as_it_sees():
    """One token is no key in a text: every letter comes back at once."""
    memory = NeuralMemory(MemoryConfig(dim=8, heads=1, conv_kernel=5))
    queries, keys, values = memory.conv.unflatten(0, (3, -1)).argmax(-1)
    assert queries.tolist() == [4, 3, 2, 1] * 2
    assert (keys == queries - 1).all(), "of the tokens before"
    assert (values == 4).all(), "the token itself"
