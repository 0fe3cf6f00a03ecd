"""The neural long-term memory as a module (arXiv 2501.00663, sections 3 and 4.4).

Axes: B batch, T tokens, H heads, D features of a head, K width of the convolution, P projections (q, k, v).
"""

from dataclasses import dataclass
from math import log, log10

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq import kernel
from titans_seq.memory import compiled
from titans_seq.memory.activation import ACTIVATIONS
from titans_seq.memory.config import MemoryConfig
from titans_seq.memory.convolve import convolve, memory_inputs, next_tail, normalize
from titans_seq.memory.functional import linear
from titans_seq.memory.gates import forget_gate, half_life
from titans_seq.memory.open_chunk import StreamState, open_stream
from titans_seq.memory.stream import advance
from titans_seq.memory.tokens import Tokens
from titans_seq.mimetic import init_mimetic
from titans_seq.norm import RMSNorm
from titans_seq.ragged import compact, gather, scatter
from titans_seq.recompute import is_wanted, run_in_segments
from titans_seq.state import State, check_state, template
from titans_seq.validation import check_sequence

INITIAL_FORGET = 4.0
"""alpha starts at sigmoid(-4), about 0.02: half of what is known is gone after some 40 tokens, until gates move."""

CONTEXT_SCALE = 0.25
"""Of the features of keys and values in the gates: at 1 they learn so fast that memories close for good."""

LONG = 4096
"""Tokens of one piece of a longer run without gradients, so that what lies between stays small and near."""


@dataclass
class MemoryState(State):
    """A memory in the middle of a stream."""

    stream: StreamState
    tail: Tensor
    """Inputs of the convolution that the next token still sees (B, K - 1, 3 dim)."""


class NeuralMemory(nn.Module):
    """A memory whose weights learn while the sequence is read; causal, with a state that streams.

    The input is normalised inside (it is the pre-norm of a block), so the memory does not care for its scale. From
    there: q, k, v by linear maps, causal depthwise convolution and SiLU, q and k to unit length per head and v
    divided by the root of its width; the gates theta, eta, alpha by a linear map (of the token; with `gate_context` of
    its key and value too) and a sigmoid, one scalar per head and token; the exact memory; a norm per head, a gate, and
    the output projection.

    Examples:
        >>> import torch
        >>> memory = NeuralMemory(MemoryConfig(dim=32, heads=2, chunk_size=8))
        >>> y, state = memory(torch.randn(3, 20, 32))
        >>> y_next, state = memory(torch.randn(3, 1, 32), state)
        >>> y.shape, y_next.shape
        (torch.Size([3, 20, 32]), torch.Size([3, 1, 32]))
    """

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__()
        self.config = config
        dim, heads, taps = config.dim, config.heads, config.conv_kernel
        self.norm = RMSNorm(dim)
        self.project = nn.Linear(dim, 4 * dim, bias=False)  # q, k, v, output gate
        self.gates = nn.Linear(dim * (3 if config.gate_context else 1), 3 * heads)  # theta, eta, alpha
        self.conv = nn.Parameter(torch.empty(3 * dim, taps)) if taps > 1 else None
        self.memory = nn.ParameterList(
            torch.empty(heads, o, i) for i, o in zip(config.widths[:-1], config.widths[1:], strict=True)
        )
        self.output_norm = RMSNorm(config.head_dim)
        self.output = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()
        self._template = template(self.initial_state(1, self.output.weight))

    def reset_parameters(self) -> None:
        """Set initial values.

        eta starts at 0.5 and theta, if not told otherwise, at (1 - eta) / (2 C): a chunk of C identical keys then moves
        the memory's answer by 2 C theta / (1 - eta) = 1 of the way to the value, a full step that does not overshoot.
        alpha starts as `half_life` and `longest_half_life` say. The projections begin as `mimetic` sets them.
        """
        share = self.config.first_step / (
            (1 - self.config.initial_momentum) * self.config.largest_step
            if self.config.max_step is None
            else self.config.max_step
        )
        with torch.no_grad():
            nn.init.normal_(self.project.weight, std=self.config.dim**-0.5)
            init_mimetic(self.project.weight, self.output.weight)
            nn.init.zeros_(self.gates.weight)
            nn.init.normal_(self.gates.weight[:, : self.config.dim], std=0.1 * self.config.dim**-0.5)
            bias = torch.tensor([log(share / (1 - share)), 0.0, -INITIAL_FORGET])
            self.gates.bias.copy_(bias.repeat_interleave(self.config.heads))
            if self.config.half_life is not None or self.config.longest_half_life is not None:
                self.gates.bias[2 * self.config.heads :] = torch.logit(forget_gate(self._initial_half_lives()))
            if self.conv is not None:
                nn.init.normal_(self.conv, std=0.1)
                self.conv.add_(self._initial_taps().to(self.conv))
            spread = ACTIVATIONS[self.config.activation].spread
            for number, weight in enumerate(self.memory, 1):
                own = spread if number < len(self.memory) else None
                nn.init.normal_(weight, std=weight.shape[-1] ** -0.5 if own is None else own)

    def _initial_taps(self) -> Tensor:
        """Return which token each convolution takes before training (3 dim, K): 1 at its tap, 0 elsewhere.

        The token itself; with `induction`, head h asks for the last h + 1 tokens, K - 1 at the most (a single head for
        K - 1), spread over its features, and its keys are those of as many tokens before.
        """
        dim, heads, taps = self.config.dim, self.config.heads, self.config.conv_kernel
        back = np.zeros((3, heads, dim // heads), np.int64)
        if self.config.induction:
            tokens = np.arange(1, heads + 1).clip(max=taps - 1) if heads > 1 else np.array([taps - 1])
            back[0] = np.arange(dim // heads) % tokens[:, None]
            back[1] = back[0] + 1
        return torch.from_numpy(np.eye(taps)[taps - 1 - back.ravel()])

    def _initial_half_lives(self) -> Tensor:
        """Return the half-life of each head before training (H,), float64."""
        first = self.config.half_life or float(half_life(torch.sigmoid(torch.tensor(-INITIAL_FORGET))))
        last, heads = self.config.longest_half_life or first, self.config.heads
        if heads == 1:
            return torch.tensor([last], dtype=torch.float64)
        return torch.logspace(log10(first), log10(last), heads, dtype=torch.float64)

    def forward(
        self, x: Tensor, state: MemoryState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, MemoryState]:
        """Read and write a run of tokens.

        Args:
            x: (B, T, dim), T >= 1.
            state: what an earlier call returned; None begins a stream.
            mask: (B, T) bool, False at tokens that are to change nothing.

        Returns:
            y (B, T, dim), zero at masked tokens, and the state behind the last token.

        Raises:
            ValueError: shape, dtype or values of an input are wrong.
        """
        return self._masked(x, state, mask, None)

    @torch.no_grad()
    def surprise(self, x: Tensor, state: MemoryState | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the norm of each token's momentary surprise, (B, T, H): the loss gradient over all weights.

        Taken, as in the update, at the weights of the token's chunk start (equation 16); zero at masked tokens.
        """
        norms: list[Tensor] = []
        self._masked(x, state, mask, norms)
        norm = torch.cat(norms, 2).transpose(1, 2)
        where = compact(mask)
        return norm if where is None else scatter(norm, where)

    def _masked(
        self, x: Tensor, state: MemoryState | None, mask: Tensor | None, norms: list[Tensor] | None
    ) -> tuple[Tensor, MemoryState]:
        check_sequence(x, self.config.dim, mask)
        if state is not None:
            check_state(state, self._template, x.shape[0])
        where = compact(mask)
        if where is None:
            return self.step(x, state, None, norms)
        y, state = self.step(gather(x, where), state, where.lengths, norms)
        return scatter(y, where), state

    def step(
        self,
        x: Tensor,
        state: MemoryState | None = None,
        lengths: Tensor | None = None,
        norms: list[Tensor] | None = None,
        fill: int | None = None,
    ) -> tuple[Tensor, MemoryState]:
        """Run `forward` without checks, padding on the right only: row b has `lengths[b]` real tokens (None: all).

        A caller that knows how many tokens every row has in its open chunk can say so by `fill`.
        """
        config = self.config
        if norms is None and config.checkpoint_tokens is not None and is_wanted(config.checkpoint_tokens, x, lengths):
            state = self.initial_state(x.shape[0], x) if state is None else state
            return run_in_segments(self.step, self, x, state, config.checkpoint_tokens)
        if lengths is None and norms is None and x.shape[1] > LONG and not torch.is_grad_enabled():
            outputs = []
            for part in x.split(LONG, 1):
                y, state = self.step(part, state)
                outputs.append(y)
            assert state is not None
            return torch.cat(outputs, 1), state
        x = self.norm(x)
        projected = self.project(x)
        before = None if state is None else state.tail
        q, k, v, gate = memory_inputs(projected, before, self.conv, config.heads)
        tail = next_tail(projected[..., : 3 * config.dim], before, config.conv_kernel, lengths)
        seen = torch.cat([x, *self._context(k, v)], -1) if config.gate_context else x
        logits = self.gates(seen).to(x.dtype)  # in bfloat16 their products would drift
        theta, eta, alpha = (gate.transpose(1, 2) for gate in gate_values(logits, config))
        tokens = Tokens(
            q=q,
            k=k,
            v=v,
            step_size=theta,
            momentum=eta if config.momentum else None,
            forget=alpha if config.forget else None,
        )
        first = [w.unsqueeze(0) for w in self.memory]
        y, stream = advance(tokens, None if state is None else state.stream, first, lengths, config, norms, fill)
        return self.output(self._gated(y, gate)), MemoryState(stream, tail)

    def _context(self, k: Tensor, v: Tensor) -> list[Tensor]:
        """Return keys and values (B, H, T, D) as the gates see them, (B, T, dim) each."""
        scale = CONTEXT_SCALE * self.config.head_dim**0.5
        return [scale * t.transpose(1, 2).flatten(2) for t in (k, v)]

    def query(self, x: Tensor, tail: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `recall` needs of x (B, T, dim), q (B, H, T, D) and gate (B, T, dim), and the next tail."""
        config, dim = self.config, self.config.dim
        weight = torch.cat([self.project.weight[:dim], self.project.weight[3 * dim :]])
        q, gate = F.linear(self.norm(x), weight).split(dim, -1)
        mixed = convolve(q, tail, None if self.conv is None else self.conv[:dim])
        tail = next_tail(q, tail, config.conv_kernel, lengths)
        return normalize(F.silu(mixed).unflatten(-1, (config.heads, -1)).transpose(1, 2)), F.silu(gate), tail

    def recall(self, q: Tensor, gate: Tensor, weights: list[Tensor]) -> Tensor:
        """Read given weights (B, H, O, I) with what `query` returned; nothing is written: (B, T, dim)."""
        act = ACTIVATIONS[self.config.activation].value
        for layer, w in enumerate(weights):
            q = linear(act(q) if layer else q, w)
        out: Tensor = self.output(self._gated(q, gate))
        return out

    def _gated(self, y: Tensor, gate: Tensor) -> Tensor:
        """Return norm of each head of y (B, H, T, D), times gate (B, T, dim)."""
        weight = self.output_norm.weight
        if kernel.is_usable(y) and y.dtype == gate.dtype == weight.dtype:
            return compiled.gate_output(y, gate, weight)
        normed: Tensor = self.output_norm(y.transpose(1, 2)).flatten(2)
        return normed * gate

    def initial_state(self, batch: int, like: Tensor) -> MemoryState:
        """Return the state before the first token, with the dtype and device of `like`."""
        first = [w.unsqueeze(0).to(like) for w in self.memory]
        tail = like.new_zeros(batch, self.config.conv_kernel - 1, 3 * self.config.dim)
        return MemoryState(open_stream(first, None, batch, self.config), tail)


def gate_values(logits: Tensor, config: MemoryConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return theta, eta and alpha, (B, T, H) each, of what a memory's gates gave, (B, T, 3 H)."""
    theta, eta, alpha = torch.sigmoid(logits).unflatten(-1, (3, -1)).unbind(-2)
    if config.max_step is not None:
        return (theta if config.max_step == 1 else config.max_step * theta), eta, alpha
    bounded = config.largest_step * theta
    return (bounded * (1 - eta) if config.momentum else bounded), eta, alpha
