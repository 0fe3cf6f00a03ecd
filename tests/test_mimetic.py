"""Initial values: keys begin as queries, outputs undo values, steps as configured; fresh mixers recall."""

import math

import pytest
import torch

from titans_seq import MemoryConfig, NeuralMemory
from titans_seq.backbone.attention import Attention
from titans_seq.memory.neural import gate_values
from titans_seq.memory.record import record_gates


@pytest.mark.parametrize("mixer", [NeuralMemory(MemoryConfig(dim=16, heads=2)), Attention(16, 2, None)])
def test_projections_begin_alike(mixer):
    q, k, v = mixer.project.weight[:48].chunk(3)
    assert torch.equal(q, k)
    assert not torch.equal(q, v)
    assert torch.equal(mixer.output.weight, v.T)
    assert mixer.project.weight.requires_grad


def test_untrained_memory_recalls_what_followed_a_token():
    """In a stream of A B ... A the answer at the second A is nearer to B than to any other token, on average."""
    torch.manual_seed(0)
    memory = NeuralMemory(MemoryConfig(dim=64, heads=1, depth=1, chunk_size=1, clip=None))
    with torch.no_grad():
        memory.conv.zero_()
        memory.conv[:64, -1] = memory.conv[64:128, -2] = memory.conv[128:, -1] = 1  # the key is the token before
        memory.gates.bias[0] = 0.0
    tokens = torch.randn(64, 8, 64)
    y, _ = memory(torch.cat([tokens, tokens[:, 2:3]], 1))
    likeness = torch.cosine_similarity(y[:, -1:], tokens, -1).mean(0)
    assert likeness.argmax() == 3


@pytest.mark.parametrize(("step", "expected"), [(None, 0.5 / 16), (0.05, 0.05)])
def test_steps_begin_as_configured(step, expected):
    for most in (None, 0.5, 1.0):
        memory = NeuralMemory(MemoryConfig(dim=16, heads=2, chunk_size=8, initial_step=step, max_step=most))
        theta, eta, _ = gate_values(memory.gates.bias.detach(), memory.config)
        torch.testing.assert_close(theta, torch.full((2,), expected))
        torch.testing.assert_close(eta, torch.full((2,), 0.5))


@pytest.mark.parametrize("step", [0.0, 1.0, -1.0, float("nan")])
def test_steps_out_of_range(step):
    with pytest.raises(ValueError, match="initial_step must lie between 0 and 1"):
        MemoryConfig(dim=16, heads=2, initial_step=step)


@pytest.mark.parametrize(("step", "most", "expected"), [(None, 0.25, 0.5 / 16), (None, 0.02, 0.01), (0.05, 0.25, 0.05)])
def test_steps_stay_below_the_most(step, most, expected):
    memory = NeuralMemory(MemoryConfig(dim=16, heads=2, chunk_size=8, initial_step=step, max_step=most)).double()
    x = torch.randn(2, 24, 16, dtype=torch.float64)
    with record_gates(memory) as gates, torch.no_grad():
        memory(x)
        memory.gates.bias[:2] = 100
        saturated, _ = memory(x)
    sizes = [g.step_size for g in gates]
    torch.testing.assert_close(sizes[0].mean().item(), expected, rtol=0.2, atol=0)
    torch.testing.assert_close(sizes[1], torch.full_like(sizes[1], most))
    other = NeuralMemory(MemoryConfig(dim=16, heads=2, chunk_size=8, max_step=1)).double()
    other.load_state_dict(memory.state_dict())
    with torch.no_grad():
        other.gates.weight[:2] = 0
        other.gates.bias[:2] = math.log(most / (1 - most))
        torch.testing.assert_close(other(x)[0], saturated, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({"chunk_size": 16}, 0.125),
        ({"chunk_size": 1}, 1.0),
        ({"chunk_size": 16, "momentum": False}, 0.125),
        ({"chunk_size": 16, "initial_step": 0.1}, 0.4),
    ],
)
def test_a_write_is_bounded_with_all_of_its_momentum(options, bound):
    memory = NeuralMemory(MemoryConfig(dim=16, heads=2, **options))
    with torch.no_grad():
        memory.gates.bias[:2] = 100
    for gate in (-3.0, 0.0, 5.0):
        with record_gates(memory) as gates, torch.no_grad():
            memory.gates.bias[2:4] = gate
            memory(torch.randn(2, 24, 16))
        size = gates[0].step_size / (1 - gates[0].momentum) if memory.config.momentum else gates[0].step_size
        torch.testing.assert_close(size, torch.full_like(size, bound))


def test_gradients_stay_small_where_free_steps_blow_them_up():
    """Long momentum and wide gates: what a training runs into."""
    norms = {}
    for most in (None, 1.0):
        torch.manual_seed(0)
        memory = NeuralMemory(MemoryConfig(dim=16, heads=2, chunk_size=8, max_step=most))
        with torch.no_grad():
            memory.gates.bias[:2] = 2.0
            memory.gates.bias[2:4] = 3.0
        x = torch.randn(2, 512, 16) + 1.0
        memory(x)[0].square().mean().backward()
        norms[most] = max(float(p.grad.norm()) for p in memory.parameters())
    assert norms[None] < 10
    assert norms[1.0] > 1e4 * norms[None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_step": 0.0}, "max_step must be above 0 and at most 1 or None, not 0.0"),
        ({"max_step": 1.5}, "max_step must be above 0 and at most 1 or None, not 1.5"),
        ({"max_step": float("nan")}, "max_step must be above 0"),
        ({"max_step": 0.1, "initial_step": 0.1}, "initial_step must be below max_step"),
    ],
)
def test_most_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        MemoryConfig(dim=16, heads=2, **options)
