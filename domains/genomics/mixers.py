"""Layers that mix the tokens of a sequence: a Titans backbone, or a convolution or nothing, for comparison.

Axes: B sequences, T tokens, C channels.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq.backbone import BackboneConfig, TitansBackbone
from titans_seq.backbone.swiglu import SwiGLU
from titans_seq.dropout import Dropout
from titans_seq.norm import RMSNorm

PLAIN = ("convolution", "none")
"""Values of `variant` that put a plain layer, or nothing, where the backbone stands."""
CONVOLUTION_WIDTH = 7
"""Tokens that a convolution sees."""


class BackboneMixer(nn.Module):
    """A Titans backbone, memory or attention."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.backbone = TitansBackbone(config)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return mixed tokens (B, T, C), zero where mask (B, T) is False."""
        h: Tensor = self.backbone(x, mask=mask)[0]
        return h


class PlainMixer(nn.Module):
    """The backbone's blocks with a plain layer in the place of the memory.

    Args:
        width: tokens that the layer sees; 0: none but its own.
    """

    def __init__(self, config: BackboneConfig, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PlainBlock(config, width) for _ in range(config.layers))
        self.norm = RMSNorm(config.dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return mixed tokens (B, T, C), zero where mask (B, T) is False."""
        for block in self.blocks:
            x = block(x, mask)
        h: Tensor = self.norm(x) * mask.unsqueeze(-1)
        return h


class PlainBlock(nn.Module):
    """x + convolution(norm(x)), then + SwiGLU(norm(x)); the convolution is depthwise, and missing if width is 0."""

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
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return tokens (B, T, C) of tokens (B, T, C) and mask (B, T)."""
        if self.width:
            y = convolve_same(self.convolution, (self.norm(x) * mask.unsqueeze(-1)).mT)
            x = x + self.dropout(self.output(F.silu(y.mT)))
        h: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return h


def convolve_same(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """Return the convolution of x (B, C, T) at as many places; beyond the ends stands zero."""
    width = layer.kernel_size[0]
    out: Tensor = layer(F.pad(x, ((width - 1) // 2, width // 2)))
    return out


def respond(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """Return the same as (B, T, C) of a layer without bias, as one product: faster where x has few channels."""
    width = layer.kernel_size[0]
    windows = F.pad(x, ((width - 1) // 2, width // 2)).unfold(2, width, 1)
    return windows.permute(0, 2, 1, 3).flatten(2) @ layer.weight.flatten(1).T


def build_mixer(kind: str, config: BackboneConfig) -> nn.Module:
    """Return the mixer of a kind: "backbone", "convolution" or "none"."""
    if kind == "backbone":
        return BackboneMixer(config)
    return PlainMixer(config, CONVOLUTION_WIDTH if kind == "convolution" else 0)


def split_variant(variant: str) -> tuple[str, str]:
    """Return the kind of the mixer and the variant of the backbone that an estimator's `variant` stands for."""
    return (variant, "lmm") if variant in PLAIN else ("backbone", variant)
