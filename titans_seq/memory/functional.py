"""The deep neural memory as pure functions: exact, per token, parallel over the tokens of a chunk.

Source: Behrouz, Zhong, Mirrokni, "Titans: Learning to Memorize at Test Time", arXiv 2501.00663, equations 12 to 18.

    surprise    S_t = eta_t S_{t-1} - theta_t grad |M_c(k_t) - v_t|^2      c: the start of the chunk that holds t
    memory      M_t = (1 - alpha_t) M_{t-1} + S_t
    read        y_t = M_t(q_t)

With an anchor A, forgetting returns to A instead of to zero: M_t = (1 - alpha_t) M_{t-1} + alpha_t A + S_t. A memory of
two or more layers that decays to zero stays there, since the gradient of each layer is a product of the others.

M is a bias-free MLP. No per-token weight matrix is ever built: what the tokens of a chunk add to the weights is a sum
of outer products, so reading through it is attention-like, with a lower-triangular matrix of gate products G.

Axes: B batch, H heads, T tokens, C tokens of one chunk, D features of a head, I / O inputs / outputs of a memory layer.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from titans_seq import kernel
from titans_seq.memory import compiled
from titans_seq.memory.activation import ACTIVATIONS, kernel_numbers
from titans_seq.memory.config import ActivationName
from titans_seq.memory.gates import Gates, chunk_gates, unbind_gates
from titans_seq.memory.scan import scan_stacked, surprise_norm
from titans_seq.memory.tokens import Tokens


class ChunkGradients(NamedTuple):
    """What the tokens of a chunk write, per layer of the memory: the gradient is outer(error, input)."""

    inputs: list[Tensor]
    """X_l (B, H, C, I)."""
    errors: list[Tensor]
    """delta_l (B, H, C, O): gradient of the loss with respect to the layer's output, at the chunk's first weights."""


def scan_chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    step_size: Tensor,
    momentum: Tensor | None,
    forget: Tensor | None,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None = None,
    *,
    chunk_size: int = 64,
    activation: ActivationName = "silu",
    online: bool = False,
    clip: float | None = None,
    anchor: Sequence[Tensor] | None = None,
    norms: list[Tensor] | None = None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run the memory over a sequence that starts at a chunk boundary.

    Args:
        q: queries (B, H, T, D), floating point, T >= 1.
        k: keys, of the same shape.
        v: values, of the same shape.
        step_size: theta (B, H, T).
        momentum: eta (B, H, T), or None for eta = 0.
        forget: alpha (B, H, T), or None for alpha = 0.
        weights: one (B, H, O, I) per layer, the memory M_0; (1, H, O, I) where all rows of the batch share it.
        surprise: the same shapes, S_0; None for zeros.
        chunk_size: tokens that share the point at which gradients are taken; the last chunk may be shorter.
        activation: between the layers, "silu", "gelu" or "sparse".
        online: gradients at M_{t-1} instead (depth 1 only, without clip); chunk_size is then pure tiling.
        clip: soft limit on the root mean square of each layer's error, see `clip_error`.
        anchor: what forgetting returns to, shaped as the weights; None for zero (equation 13).
        norms: a list to which each chunk's `surprise_norm` (B, H, C) is appended.

    Returns:
        y (B, H, T, D), and the weights and the surprise after the last token.

    Raises:
        ValueError: shapes do not fit together, or `online` with depth > 1 or clip.
    """
    weights = list(weights)
    surprise = None if surprise is None else list(surprise)
    anchor = None if forget is None else anchor
    _check(q, k, v, step_size, momentum, forget, weights, surprise, anchor, chunk_size)
    if online and (len(weights) != 1 or clip is not None):
        raise ValueError(f"online needs depth 1 and no clip, not depth {len(weights)} and clip {clip!r}")
    tokens = Tokens(q, k, v, step_size, momentum, forget)
    options: dict[str, Any] = {
        "chunk_size": chunk_size, "activation": activation, "online": online, "clip": clip, "anchor": anchor,
        "norms": norms,
    }  # fmt: skip
    if momentum is not None:
        return scan(tokens, weights, surprise, **options)
    # eta = 0: the surprise is the last token's alone, at the weights its chunk (online: its predecessor) left
    length = q.shape[2]
    cut = length - 1 if online else (length - 1) // chunk_size * chunk_size
    outputs = []
    if cut:
        y, weights, _ = scan(tokens.slice(0, cut), weights, None, **options)
        outputs.append(y)
    written = write(k[:, :, -1:], v[:, :, -1:], weights, activation, clip)
    theta = step_size[:, :, -1:, None]
    surprise = [-(theta * e).mT @ x for x, e in zip(written.inputs, written.errors, strict=True)]
    y, weights, _ = scan(tokens.slice(cut, length), weights, None, **options)
    return torch.cat([*outputs, y], 2), weights, surprise


def scan(
    tokens: Tokens,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    *,
    chunk_size: int,
    activation: ActivationName,
    online: bool,
    clip: float | None,
    anchor: Sequence[Tensor] | None,
    norms: list[Tensor] | None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Do what `scan_chunks` does, unchecked, by the fastest way; without momentum the surprise list is empty."""
    if online:
        return _scan_online(tokens, list(weights), surprise, chunk_size, anchor, norms)
    numbers = kernel_numbers(activation, clip)
    if norms is None and numbers is not None and kernel.is_usable(tokens.q):
        return compiled.scan_rows(tokens, weights, surprise, chunk_size, numbers, anchor)
    return scan_stacked(tokens, weights, surprise, chunk_size, activation, clip, anchor, norms)


def _scan_online(
    tokens: Tokens,
    weights: list[Tensor],
    surprise: Sequence[Tensor] | None,
    chunk_size: int,
    anchor: Sequence[Tensor] | None,
    norms: list[Tensor] | None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run the linear memory with gradients at M_{t-1}."""
    outputs = []
    for part in tokens.chunks(chunk_size):
        gates = unbind_gates(chunk_gates(part.step_size, part.momentum, part.forget))
        for gate, q, k, v in zip(gates, part.q.unbind(2), part.k.unbind(2), part.v.unbind(2), strict=True):
            written = write_online(k, v, gate, weights, surprise, anchor)
            if norms is not None:
                norms.append(surprise_norm(*written))
            outputs.append(read(q, gate, written, weights, surprise, anchor, "silu"))
            weights, carried = carry(gate, written, weights, surprise, anchor)
            surprise = surprise if gate.write is None else carried
    return torch.cat(outputs, 2), weights, list(surprise or []) if tokens.momentum is not None else []


def write(
    k: Tensor, v: Tensor, weights: Sequence[Tensor], activation: ActivationName, clip: float | None = None
) -> ChunkGradients:
    """Return gradient of |M(k) - v|^2 at the chunk's first weights, factored: forward and backward through the MLP.

    Args:
        k, v: (B, H, C, D).
        weights: one (B, H, O, I) per layer.
    """
    act = ACTIVATIONS[activation]
    inputs, outputs = [k], [linear(k, weights[0])]
    for w in weights[1:]:
        inputs.append(act.value(outputs[-1]))
        outputs.append(linear(inputs[-1], w))
    error = clip_error(2 * (outputs[-1] - v), clip)
    errors = [error]
    for w, z in zip(reversed(weights[1:]), reversed(outputs[:-1]), strict=True):
        error = clip_error(linear(error, w.mT) * act.slope(z), clip)
        errors.append(error)
    return ChunkGradients(inputs, errors[::-1])


def write_online(
    k: Tensor,
    v: Tensor,
    gates: Gates,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    anchor: Sequence[Tensor] | None,
) -> ChunkGradients:
    """Return the linear memory's gradients at M_{t-1}: one triangular solve for the errors of a chunk."""
    before = gates._replace(
        keep=F.pad(gates.keep[..., :-1], (1, 0), value=1.0),
        past=None if gates.past is None else F.pad(gates.past, (1, -1)),
    )
    target = _carry_layer(k, 0, before, weights, surprise, anchor) - v
    system = 2 * F.pad(gates.read, (0, 0, 1, -1)) * (k @ k.mT)  # strictly lower; the unit diagonal is implied
    error = torch.linalg.solve_triangular(system, target, upper=False, unitriangular=True)
    return ChunkGradients([k], [2 * error])


def read(
    q: Tensor,
    gates: Gates,
    written: ChunkGradients,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    anchor: Sequence[Tensor] | None,
    activation: ActivationName,
) -> Tensor:
    """Return y_t = M_t(q_t) of the tokens of a chunk; q (B, H, C, D), gates.read (B, H, C, columns of `written`)."""
    act = ACTIVATIONS[activation].value
    x = q
    for layer, (inputs, errors) in enumerate(zip(*written, strict=True)):
        x = act(x) if layer else x
        new = ((x @ inputs.mT) * gates.read) @ errors
        x = _carry_layer(x, layer, gates, weights, surprise, anchor) - new
    return x


def _carry_layer(
    x: Tensor,
    layer: int,
    gates: Gates,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    anchor: Sequence[Tensor] | None,
) -> Tensor:
    """Map x (B, H, C, I) by what is left in M_t of the chunk's first weights and surprise: (B, H, C, O)."""
    z, keep = linear(x, weights[layer]), gates.keep.unsqueeze(-1)
    if anchor is None:
        z = keep * z
    elif anchor[layer] is not weights[layer]:
        home = linear(x, anchor[layer])
        z = home + keep * (z - home)
    if gates.past is not None and surprise is not None:
        z = z + gates.past.unsqueeze(-1) * (x @ surprise[layer].mT)
    return z


def carry(
    gates: Gates,
    written: ChunkGradients,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    anchor: Sequence[Tensor] | None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Return weights and surprise after the chunk's last token; without momentum the surprise list is empty."""
    keep, read_last = gates.keep[..., -1, None, None], gates.read[..., -1, :, None]
    new_weights, new_surprise = [], []
    for layer, (w, inputs, errors) in enumerate(zip(weights, *written, strict=True)):
        left = keep * w if anchor is None else anchor[layer] + keep * (w - anchor[layer])
        weight = left - (read_last * errors).mT @ inputs
        if gates.past is not None and gates.write is not None and gates.momentum is not None:
            change = -(gates.write.unsqueeze(-1) * errors).mT @ inputs
            if surprise is not None:
                weight = weight + gates.past[..., -1, None, None] * surprise[layer]
                change = change + gates.momentum[..., None, None] * surprise[layer]
            new_surprise.append(change)
        new_weights.append(weight)
    return new_weights, new_surprise


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Map x (B, H, C, I) by weight (B, H, O, I), or (1, H, O, I) shared by all rows: (B, H, C, O)."""
    if weight.shape[0] == x.shape[0]:
        return x @ weight.mT
    out: Tensor = torch.einsum("bhci,hoi->bhco", x, weight[0])
    return out


def clip_error(error: Tensor, clip: float | None) -> Tensor:
    """Limit an error softly: error / sqrt(1 + mean(error^2) / clip^2), over the last axis; its rms stays below clip.

    It acts on single tokens, so the chunk form stays exact; for the last layer it is the gradient of a pseudo-Huber
    loss. With every |X_l| bounded by the layer before, no input can make the weights grow without bound while
    something is forgotten.
    """
    if clip is None:
        return error
    shrink: Tensor = torch.rsqrt(1 + error.square().mean(-1, keepdim=True) / clip**2)
    return error * shrink


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    step_size: Tensor,
    momentum: Tensor | None,
    forget: Tensor | None,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    anchor: Sequence[Tensor] | None,
    chunk_size: int,
) -> None:
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")
    if q.ndim != 4 or q.shape != k.shape or k.shape[:3] != v.shape[:3]:
        raise ValueError(f"q, k, v must be (B, H, T, D), not {[tuple(t.shape) for t in (q, k, v)]}")
    if q.shape[2] == 0:
        raise ValueError("a sequence needs at least one token, T = 0 came")
    for name, gate in (("step_size", step_size), ("momentum", momentum), ("forget", forget)):
        if gate is not None and gate.shape != q.shape[:3]:
            raise ValueError(f"{name} must be (B, H, T) = {tuple(q.shape[:3])}, not {tuple(gate.shape)}")
    batch, heads = q.shape[:2]
    if not weights or any(w.ndim != 4 or w.shape[0] not in (1, batch) or w.shape[1] != heads for w in weights):
        raise ValueError(f"weights must be (B, H, O, I), one a layer, not {[tuple(w.shape) for w in weights]}")
    for name, like in (("surprise", surprise), ("anchor", anchor)):
        if like is not None and [t.shape[1:] for t in like] != [w.shape[1:] for w in weights]:
            raise ValueError(f"{name} must be a list of the weights' shapes, one tensor a layer")
        if like is not None and any(t.shape[0] not in (1, batch) for t in like):
            raise ValueError(f"{name} must have {batch} rows, or 1 that all share, not {[t.shape[0] for t in like]}")
    widths = [k.shape[-1], *(w.shape[-2] for w in weights)]
    if widths[-1] != v.shape[-1] or [w.shape[-1] for w in weights] != widths[:-1]:
        raise ValueError(f"weights {[tuple(w.shape) for w in weights]} do not lead from k to v: {widths}")
