"""What is recorded of a memory's gates, how long its heads hold before training, and a network without its writes."""

import pytest
import torch

from titans_seq import BackboneConfig, MemoryConfig, NeuralMemory, TitansBackbone
from titans_seq.memory.gates import forget_gate, half_life
from titans_seq.memory.record import record_gates, without_writes


def test_half_life_and_gate_belong_to_each_other():
    life = torch.tensor([1.0, 10.0, 1e5], dtype=torch.float64)
    gate = forget_gate(life)
    torch.testing.assert_close((1 - gate) ** life, torch.full_like(life, 0.5))
    torch.testing.assert_close(half_life(gate), life)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [38.2, 38.2, 38.2]),
        ({"half_life": 500.0}, [500.0, 500.0, 500.0]),
        ({"half_life": 10.0, "longest_half_life": 1000.0}, [10.0, 100.0, 1000.0]),
        ({"half_life": 10.0, "longest_half_life": 1000.0, "heads": 1}, [1000.0]),
        ({"longest_half_life": 3820.0}, [38.2, 382.0, 3820.0]),
    ],
)
def test_heads_begin_with_the_half_lives_asked_for(options, expected):
    memory = NeuralMemory(MemoryConfig(**{"dim": 24, "heads": 3} | options))
    with record_gates(memory) as gates, torch.no_grad():
        memory.gates.weight.zero_()
        memory(torch.randn(2, 9, 24))
    assert gates[0].forget.shape == (2, 9, len(expected))
    torch.testing.assert_close(half_life(gates[0].forget)[0, 0], torch.tensor(expected), rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"half_life": 0.5}, "half_life must be at least 1"),
        ({"half_life": float("nan")}, "half_life must be at least 1"),
        ({"longest_half_life": 1e12}, "longest_half_life must be at least 1 and at most 1e"),
        ({"half_life": 100.0, "longest_half_life": 10.0}, "must not be below half_life"),
    ],
)
def test_half_lives_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        MemoryConfig(dim=16, heads=2, **options)


@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal"])
@torch.no_grad()
def test_without_writes_nothing_is_learned_while_reading(variant, scan_path):
    torch.manual_seed(0)
    config = BackboneConfig(
        variant=variant, dim=16, heads=2, layers=1, window=4, chunk_size=4, conv_kernel=1, initial_step=0.1
    )
    network = TitansBackbone(config)
    x = torch.randn(1, 40, 16)
    other = torch.cat([torch.randn(1, 20, 16), x[:, 20:]], 1)  # the last token's window holds nothing of the change
    with_writes = [network(rows)[0][:, -1] for rows in (x, other)]
    assert not torch.allclose(*with_writes, atol=1e-6)
    with without_writes(network):
        torch.testing.assert_close(network(x)[0][:, -1], network(other)[0][:, -1], rtol=0, atol=1e-6)
    torch.testing.assert_close(network(x)[0][:, -1], with_writes[0])
