"""The memory token by token, by autograd: the definition that the chunk form is held to.

Axes: B batch, H heads, T tokens, D features of a head, O / I outputs / inputs of a memory layer.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F


def sparse(z):
    """Zero at zero, and nearly so up to about 4."""
    return (F.silu(z - 6) - F.silu(torch.full_like(z, -6))) / 16


ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "sparse": sparse}


def token_loop(q, k, v, step_size, momentum, forget, weights, surprise, *, chunk_size, activation="silu", online=False,
               clip=None, anchor=None):  # fmt: skip
    """Equations 12 to 16 for one token after the other; gradients by autograd at the weights of the chunk's start.

    With create_graph the result can be differentiated with respect to every input.
    """
    act = ACTIVATIONS[activation]
    weights, surprise = list(weights), list(surprise)
    start, outputs = weights, []
    for t in range(q.shape[2]):
        if online or t % chunk_size == 0:
            start = weights
        gradients = loss_gradient(k[:, :, t], v[:, :, t], start, act, clip)

        def gate(g, t=t):
            return g[:, :, t, None, None]

        eta = 0.0 if momentum is None else gate(momentum)
        alpha = 0.0 if forget is None else gate(forget)
        surprise = [eta * s - gate(step_size) * g for s, g in zip(surprise, gradients, strict=True)]
        back = [0.0] * len(weights) if anchor is None else [alpha * a for a in anchor]
        weights = [(1 - alpha) * w + b + s for w, b, s in zip(weights, back, surprise, strict=True)]
        outputs.append(mlp(q[:, :, t], weights, act))
    return torch.stack(outputs, 2), weights, surprise


def mlp(x, weights, act):
    """(B, H, D) through the memory."""
    for layer, w in enumerate(weights):
        x = act(x) if layer else x
        x = torch.einsum("bhoi,bhi->bho", w, x)
    return x


def loss_gradient(k, v, weights, act, clip):
    """Gradient of |M(k) - v|^2 by autograd; a clip bends the error signal at every layer's output on its way down."""
    at = [w if w.requires_grad else w.detach().requires_grad_() for w in weights]
    outputs, x = [], k
    for layer, w in enumerate(at):
        x = act(x) if layer else x
        x = torch.einsum("bhoi,bhi->bho", w, x)
        outputs.append(x)
    loss = (x - v).square().sum()
    if clip is None:
        return torch.autograd.grad(loss, at, create_graph=True)
    gradients, (error,) = [], torch.autograd.grad(loss, outputs[-1], create_graph=True)
    for layer in reversed(range(len(at))):
        error = error / torch.sqrt(1 + error.square().mean(-1, keepdim=True) / clip**2)
        gradients += torch.autograd.grad(outputs[layer], at[layer], error, create_graph=True)
        if layer:
            (error,) = torch.autograd.grad(outputs[layer], outputs[layer - 1], error, create_graph=True)
    return gradients[::-1]


def random_inputs(batch, heads, length, width, depth, *, expansion=2, seed=0, momentum=True, forget=True,
                  dtype=torch.float64):  # fmt: skip
    """q, k, v, gates, weights and a surprise that is not zero, all of which need gradients."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    q, k = (F.normalize(normal(batch, heads, length, width), dim=-1) for _ in range(2))
    v = normal(batch, heads, length, width)
    theta, eta, alpha = (torch.rand(batch, heads, length, generator=g, dtype=dtype) for _ in range(3))
    hidden = int(expansion * width)
    widths = [width, *[hidden] * (depth - 1), width]
    shapes = [(batch, heads, o, i) for i, o in pairwise(widths)]
    weights = [normal(*s) / s[-1] ** 0.5 for s in shapes]
    surprise = [0.1 * normal(*s) for s in shapes]
    inputs = [q, k, v, 0.2 * theta, eta if momentum else None, 0.3 * alpha if forget else None]
    for t in [*inputs, *weights, *surprise]:
        if t is not None:
            t.requires_grad_()
    return inputs, weights, surprise
