"""What the memory's speed is measured beside: one callable each, (B, T, dim) to (B, T, dim).

titans-pytorch and transformers come with `pip install titans-seq[peers]`; where they are missing, their rows are left
out. Axes: B batch, T tokens, H heads.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq import BackboneConfig, MemoryConfig, NeuralMemory, TitansBackbone


class First(nn.Module):
    """A module whose first output is the one that counts."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Return the first output."""
        found = self.module(x)
        y: Tensor = found[0] if isinstance(found, tuple) else found
        return y


class FullAttention(nn.Module):
    """scaled_dot_product_attention over all tokens so far, with its projections."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend, causally."""
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y: Tensor = self.output(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return y


class Transformer(nn.Module):
    """PyTorch's own Transformer as a language model: tokens (B, T) to scores (B, T, vocabulary).

    Args:
        length: tokens at the most, each place with a learned vector, and the embedding is the head too; 0: places are
            not told apart, and the head has weights of its own.
    """

    def __init__(self, vocabulary: int, dim: int, heads: int, layers: int, length: int = 0) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, dim)
        self.places = nn.Embedding(length, dim) if length else None
        for table in (self.embed, self.places):
            if length and table is not None:
                nn.init.normal_(table.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.output = None if length else nn.Linear(dim, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Score what follows each token."""
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        x = self.embed(tokens)
        if self.places is not None:
            x = x + self.places.weight[: tokens.shape[1]]
        h = self.layers(x, mask=mask, is_causal=True)
        scores: Tensor = h @ self.embed.weight.T if self.output is None else self.output(h)
        return scores


def ours(dim: int, heads: int) -> dict[str, Callable[[], nn.Module]]:
    """Return the memory at every depth and chunk size, and each variant as one block."""

    def memory(depth: int, chunk: int) -> Callable[[], nn.Module]:
        return lambda: First(NeuralMemory(MemoryConfig(dim=dim, heads=heads, depth=depth, chunk_size=chunk)))

    def block(variant: Any) -> Callable[[], nn.Module]:
        config = BackboneConfig(variant=variant, dim=dim, heads=heads, layers=1, window=64, chunk_size=64)
        return lambda: First(TitansBackbone(config))

    found = {f"memory, depth {d}, chunk {c}": memory(d, c) for d in (1, 2, 4) for c in (4, 16, 64)}
    return found | {f"{v} block": block(v) for v in ("lmm", "mac", "mag", "mal")}


def peers(dim: int, heads: int) -> dict[str, Callable[[], nn.Module]]:
    """Return other mixers of the same width: attention and titans-pytorch with the same heads, Mamba2, GRU.

    titans-pytorch's (c, b): chunks of c tokens share one gradient and one read, weights step every b tokens. Its
    memory is an MLP of 2 layers and expansion 2 as ours, with GELU, a residual and a norm, which are its defaults.
    """
    found: dict[str, Callable[[], nn.Module]] = {
        "attention": lambda: FullAttention(dim, heads),
        "GRU": lambda: First(nn.GRU(dim, dim, batch_first=True)),
    }
    if find_spec("transformers"):
        found["Mamba2"] = lambda: _mamba2(dim)
    if find_spec("titans_pytorch"):
        for chunk in (64, 16, 4):
            found[f"titans-pytorch ({chunk}, 64)"] = lambda chunk=chunk: _titans_pytorch(dim, heads, chunk)  # type: ignore[misc]
    return found


def _mamba2(dim: int) -> nn.Module:
    from transformers.models.mamba2.configuration_mamba2 import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer
    from transformers.utils import logging

    logging.set_verbosity_error()
    count = max(1, 2 * dim // 64)  # heads of 64 features of the expanded width
    config = Mamba2Config(
        hidden_size=dim, num_heads=count, head_dim=2 * dim // count, expand=2, state_size=64, chunk_size=64, n_groups=1
    )
    return First(Mamba2Mixer(config, layer_idx=0))


def _titans_pytorch(dim: int, heads: int, chunk: int) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from titans_pytorch import MemoryMLP
        from titans_pytorch import NeuralMemory as Peer

    return First(
        Peer(
            dim=dim, heads=heads, dim_head=dim // heads, chunk_size=chunk, batch_size=64,
            model=MemoryMLP(dim // heads, depth=2, expansion_factor=2.0), use_accelerated_scan=False,
        )
    )  # fmt: skip


def operations(dim: int, heads: int, depth: int, chunk: int, expansion: int = 2) -> float:
    """Return multiplications and additions a token of the matrix products of our memory's forward pass.

    Momentum, and forgetting to the first memory; the whole square of a chunk's scores. Backward counts twice as much.
    """
    size = dim // heads
    widths = [size, *[expansion * size] * (depth - 1), size]
    pairs = list(pairwise(widths))
    weights = sum(i * o for i, o in pairs)
    write = weights + sum(i * o for i, o in pairs[1:])  # through the memory, and errors back to the first layer
    read = 3 * weights + chunk * sum(i + o for i, o in pairs)  # weights, first weights, surprise; scores
    carry = 2 * weights
    return 2.0 * (heads * (write + read + carry) + 5 * dim * dim + 3 * heads * dim)
