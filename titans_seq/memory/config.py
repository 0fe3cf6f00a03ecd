"""Configuration of a neural memory."""

from dataclasses import dataclass
from typing import Literal, get_args

from titans_seq.validation import LARGEST, check_whole

ActivationName = Literal["silu", "gelu", "sparse"]
ForgetTo = Literal["initial", "zero"]
LONGEST = 1e9
"""Half-life at the most, tokens."""
LARGEST_CHUNK = 4096
"""Tokens of a chunk at the most: reading one takes a matrix of its square for each head."""
DEEPEST = 64
"""Layers of a memory at the most; configurations may come from a file."""


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """Switches of a memory that have the same name wherever it is used: in `MemoryConfig`, `BackboneConfig`, and in the
    parameters of every estimator.

    Raises:
        ValueError: a value is out of range, or switches contradict each other.
    """

    chunk_size: int = 64
    """Tokens whose gradients are taken at the same weights. With depth >= 2 it is part of the function."""

    momentum: bool = True
    """Past surprise carries on (eta in equation 14); off means eta = 0."""

    forget: bool = True
    """Weights decay (alpha in equation 13); off means alpha = 0."""

    forget_to: ForgetTo = "initial"
    """Where forgetting leads: to the learned M_0, or to zero as in equation 13.

    With depth >= 2 zero is a trap: the gradient of a layer is a product of the other layers, so weights that have
    decayed there never come back (with the initial gates, within some 600 tokens).
    """

    initial_step: float | None = None
    """theta of equation 14 before training; None: (1 - eta) / (2 chunk_size), which never overshoots.

    Tasks that hang on single tokens, such as recall, learn sooner from steps of about 0.05.
    """

    max_step: float | None = None
    """theta never exceeds this: it is max_step times the sigmoid of its gate; 1 is the form of the paper.

    None: (1 - eta) times `largest_step`, so that all of a write, momentum included, is bounded. Without that bound a
    training can run up theta and eta until the memory overshoots at every chunk: gradients then grow without limit
    from chunk to chunk (norms of 1e14 were seen) and say nothing any more.
    """

    conv_kernel: int = 4
    """Width of the causal depthwise convolutions after the q, k and v projections; 1 means none."""

    induction: bool = True
    """Begin with the keys of the tokens before: a query finds what followed on tokens like its own
    from the first step on. The first head asks for its token, the second for the last two, and so on, up to
    conv_kernel - 1, for which a single head asks. A memory without a convolution (conv_kernel 1) has keys of the token
    itself.

    Off, as in the paper, training has to turn the convolutions of the keys first: recall of 16 pairs in 256 tokens is
    then not learned in 600 steps, and is at 99 % with it; text costs 2.15 bits per byte without it, 2.10 with it and
    2.14 where every head asks for one token (wikitext-2, 400 steps, 3 seeds).
    """

    gate_context: bool = False
    """The gates see the token's key and value too, and so, through their convolutions, the conv_kernel tokens that end
    with it. Off, as in the paper, they see the token alone: in the first block, where a token is a letter, a memory
    that is to hold hexadecimal numbers writes at every a to f of a text.
    """

    half_life: float | None = None
    """Tokens after which half of a write is gone, before training: alpha of equation 13 is 1 - 2 ** (-1 / half_life).

    None: about 38, alpha = 0.02.
    With `longest_half_life` that of the first head.
    """

    longest_half_life: float | None = None
    """The same for the last head; those between lie on a logarithmic scale, and a memory of one head has this one.
    None: all heads begin alike.

    Heads that begin with long half-lives let a task teach its distance: recall trained on up to 1,024 tokens then
    holds over 16,384, as it does with a `gate_cost` in training.
    """

    clip: float | None = 2.0
    """Soft limit on the root mean square of each layer's error signal; None leaves it free.

    The limit keeps the memory bounded for any input (see `functional.clip_error`) and is part of the exact form.
    """

    online: bool = False
    """Depth 1 only: gradients at M_{t-1} instead of at the chunk's start; chunk_size is then pure tiling."""

    checkpoint_tokens: int | None = None
    """In training, keep only the state every so many tokens and recompute the rest backwards; None: keep all.

    It changes memory and time, not the function. A multiple of chunk_size costs least.
    """

    @property
    def initial_momentum(self) -> float:
        """Return eta before training."""
        return 0.5 if self.momentum else 0.0

    @property
    def first_step(self) -> float:
        """Return theta before training."""
        most = 1.0 if self.max_step is None else self.max_step
        return self.initial_step or min((1 - self.initial_momentum) / (2 * self.chunk_size), most / 2)

    @property
    def largest_step(self) -> float:
        """Return the bound of theta / (1 - eta) where there is no `max_step`.

        It is 2 / chunk_size: a chunk of identical keys moves the memory's answer by four times the way to the value at
        the most. Twice the `initial_step`, where that is more.
        """
        return max(min(1.0, 2 / self.chunk_size), 2 * self.first_step / (1 - self.initial_momentum))

    def check_options(self, depth: int) -> None:
        """Raise ValueError unless the switches go together in a memory of this depth."""
        check_whole(1, chunk_size=self.chunk_size, conv_kernel=self.conv_kernel)
        if self.chunk_size > LARGEST_CHUNK:
            raise ValueError(f"chunk_size must be at most {LARGEST_CHUNK}, not {self.chunk_size}")
        if self.forget_to not in ("initial", "zero"):
            raise ValueError(f"forget_to must be initial or zero, not {self.forget_to!r}")
        if self.max_step is not None and not 0 < self.max_step <= 1:
            raise ValueError(f"max_step must be above 0 and at most 1 or None, not {self.max_step!r}")
        if self.initial_step is not None and not 0 < self.initial_step < 1:
            raise ValueError(f"initial_step must lie between 0 and 1 or be None, not {self.initial_step!r}")
        for name in ("half_life", "longest_half_life"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= LONGEST:
                raise ValueError(f"{name} must be at least 1 and at most {LONGEST:g} tokens or None, not {value!r}")
        if self.longest_half_life is not None and self.longest_half_life < (self.half_life or 1):
            raise ValueError(
                f"longest_half_life ({self.longest_half_life!r}) must not be below half_life ({self.half_life!r})"
            )
        if self.initial_step is not None and self.max_step is not None and self.initial_step >= self.max_step:
            raise ValueError(f"initial_step must be below max_step ({self.max_step!r}), not {self.initial_step!r}")
        if self.clip is not None and not 0 < self.clip <= LARGEST:
            raise ValueError(f"clip must be positive, at most {LARGEST:g}, or None, not {self.clip!r}")
        if self.checkpoint_tokens is not None:
            check_whole(1, checkpoint_tokens=self.checkpoint_tokens)
        if self.online and depth != 1:
            raise ValueError(f"online needs depth 1, not {depth}")
        if self.online and self.clip is not None:
            raise ValueError("online solves a linear system: it needs clip=None")


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(MemoryOptions):
    """Configuration of a [`NeuralMemory`][titans_seq.memory.neural.NeuralMemory].

    Raises:
        ValueError: a size is out of range, or switches contradict each other.
    """

    dim: int
    """Width of the tokens that go in and come out."""

    heads: int = 4
    """Independent memories side by side; each works on `dim / heads` features."""

    depth: int = 2
    """Layers of the MLP whose weights are the memory; 1 is a linear memory."""

    expansion: float = 2
    """Hidden width of that MLP in units of `dim / heads` (no effect at depth 1)."""

    activation: ActivationName = "silu"
    """Non-linearity between the layers of the memory. "sparse" is silu(z - 6), lifted to pass through 0, behind larger
    weights: a key opens few hidden units, and what is written under other keys disturbs it less."""

    def __post_init__(self) -> None:
        check_whole(1, dim=self.dim, heads=self.heads, depth=self.depth)
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        if self.depth > DEEPEST:
            raise ValueError(f"depth must be at most {DEEPEST}, not {self.depth}")
        if not 1 <= self.expansion * self.head_dim < 2**31:
            raise ValueError(
                f"expansion {self.expansion!r} gives no usable hidden width at {self.head_dim} features a head"
            )
        if self.activation not in get_args(ActivationName):
            raise ValueError(f"activation must be silu, gelu or sparse, not {self.activation!r}")
        self.check_options(self.depth)

    @property
    def head_dim(self) -> int:
        """Return the features of one head."""
        return self.dim // self.heads

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the feature counts along the memory's MLP: input, hidden ..., output."""
        hidden = int(self.expansion * self.head_dim)
        return (self.head_dim, *[hidden] * (self.depth - 1), self.head_dim)
