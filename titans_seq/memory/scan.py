"""The scan over whole chunks, with a backward pass of its own: the fast path of `functional.scan_chunks`.

The same equations as `functional.write`, `read` and `carry`, arranged for few and large matrix products:

- The weights of a layer stand stacked, R = [A; W - A; S] (anchor, distance from it, surprise; what is switched off is
  left out), so one product with [x, beta x, f x] reads all three, and one product with [G_C x, N_C x] writes two.
- What does not depend on the carried weights comes in ready for all chunks: the gates' products.
- Between forward and backward only the weights at the start of each chunk are kept; the rest is computed again.

Axes: R rows (batch x heads), N chunks, C tokens of a chunk, D features of a head, L layers, I / O inputs / outputs of a
layer, J blocks that are read (of A, W - A, S), M blocks that are carried (of W - A, S).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from titans_seq.memory.activation import ACTIVATIONS, Activation
from titans_seq.memory.gates import Gates, chunk_gates, without_autocast
from titans_seq.memory.tokens import Tokens


class ScanOptions(NamedTuple):
    """What does not change along a scan."""

    activation: str
    clip: float | None
    blocks: int
    """J."""
    carried: int
    """M."""


class WriteActivations(NamedTuple):
    """What the writing tokens of a chunk have gone through; one entry a layer."""

    inputs: list[Tensor]
    """X_l (R, C, I)."""
    outputs: list[Tensor]
    """Z_l (R, C, O), before the non-linearity."""
    errors: list[Tensor]
    """delta_l (R, C, O)."""
    backs: list[Tensor]
    """delta_{l+1} W_{l+1}, before the slope (R, C, O); none for the last layer."""
    shrinks: list[Tensor | None]
    """What the soft clip multiplied by (R, C, 1)."""


def scan_stacked(
    tokens: Tokens,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    chunk_size: int,
    activation: str,
    clip: float | None,
    anchor: Sequence[Tensor] | None,
    norms: list[Tensor] | None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Do what `functional.scan_chunks` does; without momentum the surprise list is empty."""
    with without_autocast(tokens.q):
        batch, heads = tokens.q.shape[:2]
        carried = 1 + (tokens.momentum is not None)
        options = ScanOptions(activation, clip, (anchor is not None) + carried, carried)
        stacks = []
        for layer, weight in enumerate(weights):
            blocks = [weight]
            if anchor is not None:
                blocks = [anchor[layer].expand_as(weight), weight - anchor[layer]]
            if tokens.momentum is not None:
                blocks.append(torch.zeros_like(weight) if surprise is None else surprise[layer])
            stack = torch.cat([b.expand(batch, -1, -1, -1).mT for b in blocks], 2)
            stacks.append(stack.flatten(0, 1))
        fixed = [_block(s, 0, options.blocks) for s in stacks] if anchor is not None else []
        outputs = []
        for part in tokens.chunks(chunk_size):
            gates = _arrange_gates(chunk_gates(part.step_size, part.momentum, part.forget), anchor is not None)
            given = [t.flatten(0, 1).to(stacks[0].dtype).contiguous() for t in (part.q, part.k, part.v, *gates)]
            given += stacks
            if norms is None and torch.is_grad_enabled() and any(t.requires_grad for t in given):
                y, *after = Scan.apply(options, *given)  # type: ignore[no-untyped-call]
            else:
                mine: list[Tensor] | None = None if norms is None else []
                y, ended, _ = scan(options, *given, norms=mine, keep=False)
                after = [_tail(s, options) for s in ended]
                if norms is not None and mine is not None:
                    norms.extend(m.unflatten(0, (batch, heads)) for m in mine)
            stacks = [torch.cat([a, c], 1) for a, c in zip(fixed, after, strict=True)] if fixed else after
            outputs.append(y.flatten(1, 2).unflatten(0, (batch, heads)))
        ends = [[b.unflatten(0, (batch, heads)).mT for b in s.chunk(options.blocks, 1)] for s in stacks]
        left = [e[0] if anchor is None else anchor[layer] + e[1] for layer, e in enumerate(ends)]
        return torch.cat(outputs, 2), left, [] if tokens.momentum is None else [e[-1] for e in ends]


def _arrange_gates(gates: Gates, anchored: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return gates (..., N, C) in the arrangement of `scan`: G, what is read with, the last rows, how blocks mix."""
    keep, last = gates.keep, gates.read[..., -1, :]
    home = [torch.ones_like(keep)] if anchored else []
    if gates.past is None or gates.write is None or gates.momentum is None:
        return gates.read, torch.stack([*home, keep], -1), last.unsqueeze(-1), keep[..., -1:, None]
    mix = torch.stack([keep[..., -1], gates.past[..., -1], torch.zeros_like(gates.momentum), gates.momentum], -1)
    return (
        gates.read,
        torch.stack([*home, keep, gates.past], -1),
        torch.stack([last, gates.write], -1),
        mix.unflatten(-1, (2, 2)),
    )


class Scan(torch.autograd.Function):
    """(q, k, v, gates, weights) -> y and the carried weights; first derivatives only."""

    @staticmethod
    def forward(ctx: Any, options: ScanOptions, *tensors: Tensor) -> tuple[Tensor, ...]:
        """See `scan`."""
        y, stacks, starts = scan(options, *tensors)
        ctx.options = options
        ctx.save_for_backward(*tensors, *starts)
        return (y, *(_tail(stack, options).clone() for stack in stacks))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Go chunk by chunk from the last, as `scan` went."""
        with without_autocast(gradients[0]):
            depth = (len(ctx.saved_tensors) - 7) // 2  # seven of the tokens, then a stack and its starts per layer
            return _backward(ctx.options, ctx.saved_tensors[:-depth], ctx.saved_tensors[-depth:], gradients)


def _backward(
    options: ScanOptions, saved: Sequence[Tensor], starts: Sequence[Tensor], gradients: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    q, k, v, gates, reads, lasts, mixes, *stacks = saved
    act = ACTIVATIONS[options.activation]
    d_y, *d_carried = (g.contiguous() for g in gradients)
    d_q, d_k, d_v, d_gates, d_reads, d_lasts, d_mixes = (
        torch.empty_like(t) for t in (q, k, v, gates, reads, lasts, mixes)
    )
    stacks = [stack.clone() for stack in stacks]
    anchored = options.blocks > options.carried
    d_anchors = [torch.zeros_like(_block(s, 0, options.blocks)) for s in stacks] if anchored else []
    for n in reversed(range(q.shape[1])):
        gate, coefficients, last, mix = gates[:, n], reads[:, n], lasts[:, n], mixes[:, n]
        for stack, start in zip(stacks, starts, strict=True):
            _tail(stack, options).copy_(start[n])
        weights = _weights(stacks, options)
        chunk = _write(k[:, n], v[:, n], weights, act, options.clip)
        seen, hidden = _read_inputs(q[:, n], gate, coefficients, chunk, stacks, act)
        # carry: W', S' = mix (W, S) - [G_C X, N_C X]^T delta
        d_errors, d_inputs = [], []  # of minus the chunk's errors, inputs
        d_last, d_mix = torch.zeros_like(last), torch.zeros_like(mix)
        for layer, stack in enumerate(stacks):
            x, error, d_state = chunk.inputs[layer], chunk.errors[layer], d_carried[layer]
            d_scaled = torch.bmm(error, d_state.mT)
            d_errors.append(torch.bmm(_scale(x, last), d_state))
            d_inputs.append(_unscale(d_scaled, last))
            d_last.sub_(_shares(d_scaled, x, options.carried))
            flat = d_state.view(d_state.shape[0], options.carried, -1)
            d_mix.baddbmm_(flat, _tail(stack, options).reshape(flat.shape).mT)
            d_carried[layer] = torch.bmm(mix.mT, flat).view_as(d_state)
        d_lasts[:, n], d_mixes[:, n] = d_last, d_mix
        # read: z = [x, beta x, f x] R - ((x X^T) o G) delta
        d_coefficients, d_gate = torch.zeros_like(coefficients), torch.zeros_like(gate)
        d_z = d_y[:, n]
        for layer in reversed(range(len(stacks))):
            x, stack = seen[layer], stacks[layer]
            d_scaled = torch.bmm(d_z, stack.mT)
            d_stack = torch.bmm(_scale(x, coefficients).mT, d_z)
            if anchored:
                d_anchors[layer].add_(_block(d_stack, 0, options.blocks))
            d_carried[layer].add_(_tail(d_stack, options))
            d_scores = torch.bmm(d_z, chunk.errors[layer].mT)
            scores = torch.bmm(x, chunk.inputs[layer].mT)
            d_gate.addcmul_(d_scores, scores, value=-1)
            d_scores.mul_(gate)
            d_errors[layer].baddbmm_(scores.mul_(gate).mT, d_z)
            d_inputs[layer].baddbmm_(d_scores.mT, x)
            d_coefficients.add_(_shares(d_scaled, x, options.blocks))
            d_x = _unscale(d_scaled, coefficients).baddbmm_(d_scores, chunk.inputs[layer], alpha=-1)
            d_z = act.backward(d_x, hidden[layer - 1]) if layer else d_x
        d_q[:, n], d_reads[:, n], d_gates[:, n] = d_z, d_coefficients, d_gate
        # write: the memory's own forward and backward
        d_weights, d_k[:, n], d_v[:, n] = _write_backward(chunk, weights, d_errors, d_inputs, act, options.clip)
        for layer, d_weight in enumerate(d_weights):
            if anchored:
                d_anchors[layer].add_(d_weight)
            _block(d_carried[layer], 0, options.carried).add_(d_weight)
    d_stacks = [torch.cat([a, c], 1) for a, c in zip(d_anchors, d_carried, strict=True)] if anchored else d_carried
    return (None, d_q, d_k, d_v, d_gates, d_reads, d_lasts, d_mixes, *d_stacks)


def scan(
    options: ScanOptions,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: Tensor,
    reads: Tensor,
    lasts: Tensor,
    mixes: Tensor,
    *stacks: Tensor,
    norms: list[Tensor] | None = None,
    keep: bool = True,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run the forward pass.

    Args:
        q, k, v: (R, N, C, D).
        gates: G (R, N, C, C).
        reads: what each token reads the J blocks with, 1, beta and f (R, N, C, J).
        lasts: last rows of G and N (R, N, C, M).
        mixes: how the carried blocks mix over a chunk (R, N, M, M).
        stacks: one (R, J I, O) per layer.
        norms: a list to which each chunk's surprise norm (R, C) is appended.
        keep: whether the carried blocks at each chunk's start are to be returned.

    Returns:
        y (R, N, C, D), the stacks after the last chunk, and per layer the carried blocks at each start (N, R, M I, O).
    """
    act = ACTIVATIONS[options.activation]
    y = torch.empty_like(v)
    stacks = tuple(stack.clone() for stack in stacks)
    tails = [_tail(stack, options) for stack in stacks]
    starts = [tail.new_empty(q.shape[1], *tail.shape) for tail in tails] if keep else []
    for n in range(q.shape[1]):
        for start, tail in zip(starts, tails, strict=False):
            start[n].copy_(tail)
        gate, coefficients, last = gates[:, n], reads[:, n], lasts[:, n]
        chunk = _write(k[:, n], v[:, n], _weights(stacks, options), act, options.clip)
        if norms is not None:
            norms.append(surprise_norm(chunk.inputs, chunk.errors))
        seen, _ = _read_inputs(q[:, n], gate, coefficients, chunk, stacks, act)
        y[:, n] = _read_layer(seen[-1], gate, coefficients, chunk, stacks[-1], len(stacks) - 1)
        for x, error, tail in zip(chunk.inputs, chunk.errors, tails, strict=True):
            mixed = torch.bmm(mixes[:, n], tail.reshape(tail.shape[0], options.carried, -1)).view_as(tail)
            tail.copy_(mixed.baddbmm_(_scale(x, last).mT, error, alpha=-1))
    return y, list(stacks), starts


def surprise_norm(inputs: Sequence[Tensor], errors: Sequence[Tensor]) -> Tensor:
    """Return norm of each token's gradient over all layers' weights, (..., C): |outer(a, b)| = |a| |b|."""
    squares = [x.square().sum(-1) * e.square().sum(-1) for x, e in zip(inputs, errors, strict=True)]
    return torch.stack(squares).sum(0).sqrt()


def _write(k: Tensor, v: Tensor, weights: list[Tensor], act: Activation, clip: float | None) -> WriteActivations:
    """Run forward and backward through the MLP at the chunk's first weights, each (R, I, O)."""
    inputs, outputs = [k], list[Tensor]()
    for layer, weight in enumerate(weights):
        if layer:
            inputs.append(act.value(outputs[-1]))
        outputs.append(torch.bmm(inputs[-1], weight))
    error, shrink = _clip((outputs[-1] - v).mul_(2), clip)
    errors, backs, shrinks = [error], [], [shrink]
    for layer in reversed(range(len(weights) - 1)):
        back = torch.bmm(error, weights[layer + 1].mT)
        error, shrink = _clip(act.backward(back, outputs[layer]), clip)
        errors.append(error)
        backs.append(back)
        shrinks.append(shrink)
    return WriteActivations(inputs, outputs, errors[::-1], backs[::-1], shrinks[::-1])


def _write_backward(
    chunk: WriteActivations,
    weights: list[Tensor],
    d_errors: list[Tensor],
    d_inputs: list[Tensor],
    act: Activation,
    clip: float | None,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return gradients of the weights, k and v, from those of minus the errors and minus the inputs."""
    depth = len(weights)
    d_weights: list[Tensor] = [weights[0]] * depth
    slopes, d_outputs = [], []
    d_error = d_errors[0]
    for layer in range(depth - 1):  # the memory's backward pass, backwards; still of minus the errors
        slope, curve = act.slope_and_curve(chunk.outputs[layer])
        d_raw = _clip_backward(d_error, chunk.errors[layer], chunk.shrinks[layer], clip)
        d_back = d_raw * slope
        d_outputs.append(d_raw.mul_(chunk.backs[layer]).mul_(curve))
        d_weights[layer + 1] = torch.bmm(d_back.mT, chunk.errors[layer + 1])
        d_error = d_errors[layer + 1].baddbmm_(d_back, weights[layer + 1])
        slopes.append(slope)
    d_z = _clip_backward(d_error, chunk.errors[-1], chunk.shrinks[-1], clip).mul_(2)
    d_v = d_z  # minus the errors, minus v: the signs cancel
    for layer in reversed(range(depth)):  # its forward pass
        own = torch.bmm(chunk.inputs[layer].mT, d_z)
        d_weights[layer] = own.neg_() if layer == 0 else own.add_(d_weights[layer]).neg_()
        d_input = d_inputs[layer].baddbmm_(d_z, weights[layer].mT)
        if layer:
            d_z = torch.addcmul(d_outputs[layer - 1], d_input, slopes[layer - 1])
    return d_weights, d_input.neg_(), d_v


def _read_inputs(
    q: Tensor,
    gate: Tensor,
    coefficients: Tensor,
    chunk: WriteActivations,
    stacks: list[Tensor] | tuple[Tensor, ...],
    act: Activation,
) -> tuple[list[Tensor], list[Tensor]]:
    """Return what each layer reads (R, C, I), and the outputs of all layers but the last (R, C, O)."""
    seen: list[Tensor] = [q]
    hidden: list[Tensor] = []
    for layer, stack in enumerate(stacks[:-1]):
        hidden.append(_read_layer(seen[-1], gate, coefficients, chunk, stack, layer))
        seen.append(act.value(hidden[-1]))
    return seen, hidden


def _read_layer(
    x: Tensor, gate: Tensor, coefficients: Tensor, chunk: WriteActivations, stack: Tensor, layer: int
) -> Tensor:
    """Map x (R, C, I) by the per-token weights: (R, C, O)."""
    z = torch.bmm(_scale(x, coefficients), stack)
    return z.baddbmm_(torch.bmm(x, chunk.inputs[layer].mT).mul_(gate), chunk.errors[layer], alpha=-1)


def _clip(error: Tensor, clip: float | None) -> tuple[Tensor, Tensor | None]:
    """See `functional.clip_error`; also what it multiplied by."""
    if clip is None:
        return error, None
    size = torch.linalg.vector_norm(error, dim=-1, keepdim=True)
    shrink = size.mul_(1 / (clip * error.shape[-1] ** 0.5)).square_().add_(1).rsqrt_()
    return error * shrink, shrink


def _clip_backward(d_error: Tensor, error: Tensor, shrink: Tensor | None, clip: float | None) -> Tensor:
    if clip is None or shrink is None:
        return d_error.clone()
    along = (d_error * error).sum(-1, keepdim=True).mul_(-1 / (clip**2 * error.shape[-1]))
    return torch.addcmul(d_error, error, along).mul_(shrink)


def _scale(x: Tensor, factors: Tensor) -> Tensor:
    """Return x (R, C, I) times each column of factors (R, C, J): (R, C, J I)."""
    return (x.unsqueeze(2) * factors.unsqueeze(3)).flatten(2)


def _unscale(d_scaled: Tensor, factors: Tensor) -> Tensor:
    """Return the gradient of x of `_scale`."""
    first, *others = d_scaled.chunk(factors.shape[-1], -1)
    total = first * factors[..., :1]
    for index, other in enumerate(others, 1):
        total.addcmul_(other, factors[..., index : index + 1])
    return total


def _shares(d_scaled: Tensor, x: Tensor, count: int) -> Tensor:
    """Return the gradient of the factors of `_scale`."""
    shares: Tensor = (d_scaled.unflatten(2, (count, -1)) * x.unsqueeze(2)).sum(-1)
    return shares


def _block(stack: Tensor, index: int, count: int) -> Tensor:
    """Return one of `count` blocks of a stack (R, count I, O): (R, I, O)."""
    return stack.chunk(count, 1)[index]


def _tail(stack: Tensor, options: ScanOptions) -> Tensor:
    """Return the carried blocks of a stack (R, M I, O)."""
    return stack if options.blocks == options.carried else stack[:, stack.shape[1] // options.blocks :]


def _weights(stacks: list[Tensor] | tuple[Tensor, ...], options: ScanOptions) -> list[Tensor]:
    """Return W (R, I, O) per layer: the anchor and the distance from it."""
    if options.blocks == options.carried:
        return [_block(stack, 0, options.blocks) for stack in stacks]
    return [_block(stack, 0, options.blocks) + _block(stack, 1, options.blocks) for stack in stacks]
