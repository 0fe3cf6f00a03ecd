"""The loss of a network over a whole text: as a stream, or in windows that begin anew.

Axes: B batch, T tokens.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from titans_seq.domains.language.document_segments import EvenDocuments
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
def window_nats(network: LanguageNetwork, rows: Sequence[Tensor], length: int, batch: int = 128) -> float:
    """Return the nats of all tokens of rows (T,) but the first of each, in windows that know nothing of each other.

    Args:
        length: tokens of a window.
        batch: windows that are read at once.
    """
    total = 0.0
    for part in EvenDocuments(rows, length, batch * length):
        logits, _ = network(part.tokens[:, :-1].clamp_min(0))
        total += float(next_token_loss(logits, part.tokens[:, 1:]).double().sum())
    return total


def window_loss(network: LanguageNetwork, tokens: Tensor, length: int, batch: int = 128) -> float:
    """Return the mean nats of tokens (T,), but the first; see `window_nats`."""
    return window_nats(network, [tokens], length, batch) / (len(tokens) - 1)
