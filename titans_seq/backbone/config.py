"""Configuration of a Titans backbone."""

from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from titans_seq.memory.config import ActivationName, MemoryConfig, MemoryOptions
from titans_seq.validation import check_whole

MOST_LAYERS = 1000
"""Blocks at the most; configurations may come from a file."""

LARGEST_WINDOW = 16_384
"""Tokens of a window at the most: every row of a stream has room for them."""

Variant = Literal["lmm", "mac", "mag", "mal", "attention", "gru", "none"]


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(MemoryOptions):
    """Sizes and switches of a [`TitansBackbone`][titans_seq.backbone.model.TitansBackbone]; plain values only.

    Raises:
        ValueError: a size is out of range, or a name is unknown.
    """

    variant: Variant = "lmm"
    """How memory and attention share a block: "lmm" is the memory alone, "attention" a Transformer++
    without one, "gru" a recurrent unit, "none" neither: its MLPs see each token alone."""

    dim: int = 64
    """Width of the tokens."""

    layers: int = 2
    """Blocks, one after the other."""

    heads: int = 4
    """Heads of each mixer."""

    window: int | None = 64
    """Tokens that attention sees, itself included; for mac the length of a segment. None: all (not for mac)."""

    persistent_tokens: int = 0
    """Learned tokens that do not depend on the data: read by the memory before a stream, always seen by attention."""

    mlp_expansion: float = 2
    """Hidden width of the gated MLP in units of `dim`."""

    dropout: float = 0.0
    """Share of features set to zero after each mixer and MLP in training."""

    memory_depth: int = 2
    """Layers of the memory's MLP."""

    memory_expansion: float = 2
    """Hidden width of the memory's MLP in units of `dim / heads`."""

    memory_activation: ActivationName = "silu"
    """Non-linearity inside the memory, see `MemoryConfig.activation`."""

    def __post_init__(self) -> None:
        _ = self.memory  # checks its own settings
        if self.variant not in get_args(Variant):
            raise ValueError(f"variant must be one of {', '.join(get_args(Variant))}, not {self.variant!r}")
        if self.window is not None:
            check_whole(1, window=self.window)
            if self.window > LARGEST_WINDOW:
                raise ValueError(f"window must be at most {LARGEST_WINDOW} or None, not {self.window}")
        if self.variant == "mac" and (self.window is None or self.window % self.chunk_size):
            raise ValueError(
                f"mac needs a window that is a multiple of chunk_size {self.chunk_size}, not {self.window!r}"
            )
        check_whole(0, persistent_tokens=self.persistent_tokens)
        check_whole(1, layers=self.layers)
        if self.layers > MOST_LAYERS:
            raise ValueError(f"layers must be at most {MOST_LAYERS}, not {self.layers}")
        if not 1 <= self.mlp_expansion * self.dim < 2**31:
            raise ValueError(f"mlp_expansion {self.mlp_expansion!r} gives no usable hidden width at dim {self.dim}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout!r}")

    @property
    def memory(self) -> MemoryConfig:
        """Return the configuration of each block's memory."""
        options = {field.name: getattr(self, field.name) for field in fields(MemoryOptions)}
        return MemoryConfig(
            dim=self.dim,
            heads=self.heads,
            depth=self.memory_depth,
            expansion=self.memory_expansion,
            activation=self.memory_activation,
            **options,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the configuration that `dataclasses.asdict` described; raise ValueError for unknown names."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown backbone settings: {', '.join(sorted(unknown))}")
        return cls(**values)
