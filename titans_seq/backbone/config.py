"""What a Titans backbone is made of."""

from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from titans_seq.memory.config import Activation, ForgetTo, MemoryConfig

MOST_LAYERS = 1000
"""Blocks at the most; configurations may come from a file."""

Variant = Literal["lmm", "mac", "mag", "mal", "attention"]


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Sizes and switches of a [`TitansBackbone`][titans_seq.backbone.model.TitansBackbone]; plain values only.

    Raises:
        ValueError: a size is out of range, or a name is unknown.
    """

    variant: Variant = "lmm"
    """How memory and attention share a block: "lmm" is the memory alone, "attention" a Transformer++ without one."""

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

    chunk_size: int = 64
    """Tokens whose gradients are taken at the same weights."""

    momentum: bool = True
    """Past surprise carries on."""

    forget: bool = True
    """Memory weights decay."""

    forget_to: ForgetTo = "initial"
    """Where they decay to: the learned first memory, or zero."""

    initial_step: float | None = None
    """The memory's step size before training; see `MemoryConfig.initial_step`."""

    max_step: float = 1.0
    """The memory's step size at the most; see `MemoryConfig.max_step`."""

    conv_kernel: int = 4
    """Width of the causal depthwise convolutions; 1 means none."""

    memory_activation: Activation = "silu"
    """Non-linearity inside the memory."""

    clip: float | None = 2.0
    """Soft limit on the memory's error signals; None leaves them free."""

    online: bool = False
    """Memory depth 1 only: gradients at every token instead of every chunk."""

    checkpoint_tokens: int | None = None
    """In training, keep only the state every so many tokens and recompute the rest backwards; None: keep all.

    It changes memory and time, not the function. A multiple of chunk_size costs least.
    """

    def __post_init__(self) -> None:
        _ = self.memory  # checks its own settings
        if self.variant not in get_args(Variant):
            raise ValueError(f"variant must be one of {', '.join(get_args(Variant))}, not {self.variant!r}")
        if self.window is not None and (not isinstance(self.window, int) or self.window < 1):
            raise ValueError(f"window must be a whole number of at least 1 or None, not {self.window!r}")
        if self.variant == "mac" and (self.window is None or self.window % self.chunk_size):
            raise ValueError(
                f"mac needs a window that is a multiple of chunk_size {self.chunk_size}, not {self.window!r}"
            )
        if not isinstance(self.persistent_tokens, int) or self.persistent_tokens < 0:
            raise ValueError(f"persistent_tokens must be a whole number of at least 0, not {self.persistent_tokens!r}")
        if not isinstance(self.layers, int) or not 1 <= self.layers <= MOST_LAYERS:
            raise ValueError(f"layers must be a whole number from 1 to {MOST_LAYERS}, not {self.layers!r}")
        if not 1 <= self.mlp_expansion * self.dim < 2**31:
            raise ValueError(f"mlp_expansion {self.mlp_expansion!r} gives no usable hidden width at dim {self.dim}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout!r}")

    @property
    def memory(self) -> MemoryConfig:
        """The configuration of each block's memory."""
        return MemoryConfig(
            dim=self.dim,
            heads=self.heads,
            depth=self.memory_depth,
            expansion=self.memory_expansion,
            chunk_size=self.chunk_size,
            momentum=self.momentum,
            forget=self.forget,
            forget_to=self.forget_to,
            initial_step=self.initial_step,
            max_step=self.max_step,
            conv_kernel=self.conv_kernel,
            activation=self.memory_activation,
            clip=self.clip,
            online=self.online,
            checkpoint_tokens=self.checkpoint_tokens,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """From what `dataclasses.asdict` gave; unknown names are a ValueError."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown backbone settings: {', '.join(sorted(unknown))}")
        return cls(**values)
