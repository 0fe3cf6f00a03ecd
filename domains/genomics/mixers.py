"""What mixes the tokens of a sequence: a Titans backbone, or in its place a convolution or nothing, for comparison.

Axes: B sequences, T tokens, C channels.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq.backbone import BackboneConfig, TitansBackbone
from titans_seq.backbone.swiglu import SwiGLU
from titans_seq.norm import RMSNorm

WIDTH = 7
"""Tokens that a convolution sees."""


class BackboneMixer(nn.Module):
    """A Titans backbone, memory or attention."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.backbone = TitansBackbone(config)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x (B, T, C), real (B, T) bool; zero where it is False."""
        h: Tensor = self.backbone(x, mask=real)[0]
        return h


class PlainMixer(nn.Module):
    """The backbone's blocks, each x + mix(norm(x)) and + SwiGLU(norm(x)), with a plain layer where the memory is."""

    def __init__(self, config: BackboneConfig, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PlainBlock(config, width) for _ in range(config.layers))
        self.norm = RMSNorm(config.dim)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x (B, T, C), real (B, T) bool; zero where it is False."""
        for block in self.blocks:
            x = block(x, real)
        h: Tensor = self.norm(x) * real.unsqueeze(-1)
        return h


class PlainBlock(nn.Module):
    """A depthwise convolution of `width` tokens as the mixer; with width 0 no token sees another."""

    def __init__(self, config: BackboneConfig, width: int) -> None:
        super().__init__()
        dim = config.dim
        self.width = width
        if width:
            self.norm = RMSNorm(dim)
            self.convolution = nn.Conv1d(dim, dim, width, groups=dim)
            self.output = nn.Linear(dim, dim, bias=False)
        self.mlp_norm = RMSNorm(dim)
        self.mlp = SwiGLU(dim, int(config.mlp_expansion * dim))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """See `PlainMixer.forward`."""
        if self.width:
            y = same_length(self.convolution, (self.norm(x) * real.unsqueeze(-1)).mT)
            x = x + self.dropout(self.output(F.silu(y.mT)))
        h: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return h


def same_length(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """Convolve (B, C, T) to as many places; beyond the ends stands zero."""
    width = layer.kernel_size[0]
    out: Tensor = layer(F.pad(x, ((width - 1) // 2, width // 2)))
    return out


def build_mixer(kind: str, config: BackboneConfig) -> nn.Module:
    """ "backbone", "convolution" or "none"."""
    if kind == "backbone":
        return BackboneMixer(config)
    return PlainMixer(config, WIDTH if kind == "convolution" else 0)
