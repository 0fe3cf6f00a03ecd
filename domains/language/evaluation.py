"""The loss of a network over a whole text: as a stream, or in windows that begin anew.

Axes: B batch, T tokens.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from titans_seq.domains.language.network import LanguageNetwork
from titans_seq.domains.language.segments import next_token_loss
from titans_seq.validation import check_answer

PIECE = 2048
"""Tokens of one call along a stream."""


@torch.no_grad()
def stream_losses(network: LanguageNetwork, tokens: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield nats of each token (T,) but the first, given all before it; what is held does not grow with the text.

    Args:
        tokens: (T,) tensors of any length, one behind the other.
    """
    state, last = None, None
    for part in tokens:
        part = part if last is None else torch.cat([last, part])
        for start in range(0, len(part) - 1, PIECE):
            piece = part[start : start + PIECE + 1].unsqueeze(0)
            logits, state = network(piece[:, :-1], state)
            losses = next_token_loss(logits, piece[:, 1:])[0]
            check_answer(losses, "the losses")
            yield losses
        last = part[-1:]


def stream_loss(network: LanguageNetwork, tokens: Tensor) -> float:
    """Return mean nats of tokens (T,), the memory carried from the first to the last."""
    total = sum(float(losses.double().sum()) for losses in stream_losses(network, [tokens]))
    return total / (len(tokens) - 1)


@torch.no_grad()
def window_loss(network: LanguageNetwork, tokens: Tensor, length: int, batch: int = 128) -> float:
    """Return the mean nats of tokens (T,), but the first, in windows of `length` that know nothing of each other."""
    whole = (len(tokens) - 1) // length * length
    inputs, targets = tokens[:whole].view(-1, length), tokens[1 : whole + 1].view(-1, length)
    parts = [*zip(inputs.split(batch), targets.split(batch), strict=True)] if whole else []
    if whole < len(tokens) - 1:
        parts.append((tokens[whole:-1].unsqueeze(0), tokens[whole + 1 :].unsqueeze(0)))
    total = sum(float(next_token_loss(network(x)[0], y).double().sum()) for x, y in parts)
    return total / (len(tokens) - 1)
