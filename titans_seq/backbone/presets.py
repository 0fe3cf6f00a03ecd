"""Named sizes.

Layers, widths and heads are those that follow-up papers of the same group print (the Titans paper prints none); 400m is
interpolated between its neighbours. The gated MLP takes what the name leaves over after mixers and embedding, so every
variant of a size has the same number of parameters and comparisons between them are fair.
"""

from dataclasses import dataclass, replace

from titans_seq.backbone.config import BackboneConfig, Variant
from titans_seq.backbone.model import TitansBackbone
from titans_seq.shapes import shapes_only

VOCABULARY = 32_000
"""Entries of the tied embedding that the names count in."""


@dataclass(frozen=True)
class Size:
    """What a name stands for."""

    parameters: int
    layers: int
    dim: int
    heads: int = 16


SIZES = {
    "titans-170m": Size(170_000_000, 12, 768),
    "titans-340m": Size(340_000_000, 24, 1024),
    "titans-400m": Size(400_000_000, 24, 1088),
    "titans-760m": Size(760_000_000, 24, 1536),
}


def preset(name: str, variant: Variant = "lmm") -> BackboneConfig:
    """Return the configuration of a named size; memory of depth 2, chunks of 64, windows of 512, 4 persistent tokens.

    Raises:
        ValueError: unknown name or variant.
    """
    if name not in SIZES:
        raise ValueError(f"preset must be one of {', '.join(SIZES)}, not {name!r}")
    size = SIZES[name]
    slim = BackboneConfig(
        variant=variant,
        dim=size.dim,
        layers=size.layers,
        heads=size.heads,
        mlp_expansion=1,
        memory_depth=2,
        chunk_size=64,
        window=512,
        persistent_tokens=4,
    )
    return fit_parameters(slim, size.parameters - VOCABULARY * size.dim, 16)


def fit_parameters(config: BackboneConfig, target: int, multiple: int = 1) -> BackboneConfig:
    """Return the configuration with the gated MLP that brings its parameters closest to `target`.

    Raises:
        ValueError: the mixers alone have as many.
    """
    slim = replace(config, mlp_expansion=1)
    mlp = 3 * config.dim**2 * config.layers
    others = count_parameters(slim) - mlp
    hidden = multiple * round(config.dim * (target - others) / mlp / multiple)
    if hidden < 1:
        raise ValueError(f"{target:,} parameters are too few: the {config.variant} blocks alone have {others:,}")
    return replace(config, mlp_expansion=hidden / config.dim)


def count_parameters(config: BackboneConfig) -> int:
    """Return parameters of a backbone, without the embedding; nothing is allocated."""
    with shapes_only():
        return sum(p.numel() for p in TitansBackbone(config).parameters())
