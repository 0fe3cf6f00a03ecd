"""Every block against its equations (arXiv 2501.00663, section 4), token by token, with plain softmax attention.

Axes: B batch, T tokens, H heads, D features of a head, K keys, P persistent tokens.
"""

import pytest
import torch

from titans_seq import BackboneConfig
from titans_seq.backbone.attention import Attention
from titans_seq.backbone.mac import MACBlock
from titans_seq.backbone.mag import MAGBlock
from titans_seq.backbone.mal import MALBlock

WINDOW, LENGTH, HEADS = 8, 21, 2


def turned(x, place):
    """x (B, H, D) at a place: pairs of features as complex numbers, multiplied by a phase."""
    a, b = x.chunk(2, -1)
    phase = place * 10_000.0 ** (-torch.arange(a.shape[-1], dtype=torch.float64) / a.shape[-1])
    z = torch.complex(a, b) * torch.polar(torch.ones_like(phase), phase)
    return torch.cat([z.real, z.imag], -1)


def attention(layer, query, keys, place):
    """query (B, dim) at the last place; keys (B, K, dim) at places (K,); the layer's persistent tokens have none."""
    q, _, _ = layer.project(query).unflatten(-1, (3, HEADS, -1)).unbind(1)  # (B, H, D)
    k, v = layer.project(keys).unflatten(-1, (3, HEADS, -1)).unbind(2)[1:]  # (B, K, H, D)
    near = [(turned(q, place[-1]) * turned(k[:, i], p)).sum(-1) for i, p in enumerate(place)]
    fixed_k, fixed_v = layer.persistent  # (H, P, D)
    far = [(q * fixed_k[:, p]).sum(-1) for p in range(fixed_k.shape[1])]
    weights = torch.stack(near + far, -1).div(q.shape[-1] ** 0.5).softmax(-1)  # (B, H, K + P)
    values = torch.cat([v.transpose(1, 2), fixed_v.expand(len(q), -1, -1, -1)], 2)
    return layer.output((weights.unsqueeze(-1) * values).sum(2).flatten(1))


def window_attention(layer, x):
    """x (B, T, dim)."""
    first = [max(0, t - WINDOW + 1) for t in range(x.shape[1])]
    return torch.stack([attention(layer, x[:, t], x[:, f : t + 1], range(f, t + 1)) for t, f in enumerate(first)], 1)


def normed(norm, x):
    return x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt() * norm.weight


def gate_output(gate, y, m):
    return normed(gate.memory_norm, m) / (1 + torch.exp(-normed(gate.attention_norm, y)))


def mag(block, x):
    """Equations 26 to 28."""
    y = window_attention(block.attention, normed(block.norm, x))
    return gate_output(block.gate, y, block.memory.step(x, None, None)[0])


def mal(block, x):
    """Equations 29 to 31, each layer with a residual connection."""
    m = block.memory.step(x, None, None)[0]
    return m + window_attention(block.attention, normed(block.norm, x + m))


def mac(block, x):
    """Equations 21 to 25, the memory written with the token too."""
    s, memory = normed(block.norm, x), block.memory
    empty = x.new_zeros(len(x), block.config.conv_kernel - 1, block.config.dim)
    written = []
    for t in range(x.shape[1]):
        start = t - t % WINDOW
        before = (
            memory.step(torch.stack(written[:start], 1))[1].stream.weights
            if start
            else [w.expand(len(x), *w.shape) for w in memory.memory]
        )
        h = memory.recall(*memory.query(x[:, : t + 1], empty)[:2], before)[:, start:]
        y = attention(block.attention, s[:, t], torch.cat([h, s[:, start : t + 1]], 1), [*range(t - start + 1)] * 2)
        written.append(s[:, t] + y)
    m = memory.step(torch.stack(written, 1))[0]
    return gate_output(block.gate, torch.stack(written, 1) - s, m)


@pytest.mark.parametrize(("kind", "equations"), [(MACBlock, mac), (MAGBlock, mag), (MALBlock, mal)])
def test_a_block_follows_its_equations(kind, equations):
    torch.manual_seed(0)
    sizes = {"dim": 16, "heads": HEADS, "chunk_size": 4, "window": WINDOW, "persistent_tokens": 2, "initial_step": 0.3}
    block = kind(BackboneConfig(variant=kind.__name__[:3].lower(), **sizes)).double()
    with torch.no_grad():
        for parameter in block.parameters():  # norms that are not all one
            parameter += 0.1 * torch.randn_like(parameter)
        x = torch.randn(2, LENGTH, 16, dtype=torch.float64)
        torch.testing.assert_close(block.mix(x, None, None)[0], equations(block, x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("length", [1, WINDOW, 2 * WINDOW, 2 * WINDOW + 1, 5 * WINDOW + 3])
@pytest.mark.parametrize("lengths", [False, True])
def test_empty_slots_before_a_stream_are_the_same_as_none(length, lengths):
    torch.manual_seed(0)
    layer = Attention(16, HEADS, WINDOW, 2)
    x = torch.randn(3, length, 16)
    real = torch.tensor([length, 1, (length + 1) // 2]) if lengths else None
    y, after = layer.step(x, None, real)
    expected, expected_after = layer.step(x, layer.initial_state(3, x), real)
    seen = torch.ones(3, length, 1) if real is None else (torch.arange(length) < real.unsqueeze(1)).unsqueeze(2)
    torch.testing.assert_close(y * seen, expected * seen)
    for own, other in zip(after.tensors(), expected_after.tensors(), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=0)
