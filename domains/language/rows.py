"""Token rows of different lengths, read side by side.

Axes: B rows, T tokens, V vocabulary.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from titans_seq.backbone import BackboneState
from titans_seq.domains.language.evaluation import PIECE
from titans_seq.domains.language.network import LanguageNetwork
from titans_seq.validation import check_answer

LOGITS = 2**25
"""Logits of one call at the most; a call has at least a token of each row."""
TOGETHER = 2**16
"""Tokens of rows whose losses are held together, padding included; one row may have more."""


def padded_pieces(rows: Sequence[Tensor], vocabulary: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the tokens of rows (T,) each in pieces (B, T), and which of them are real (B, T); None: all."""
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence([*rows], batch_first=True)
    size = min(PIECE, max(1, LOGITS // (len(rows) * vocabulary)))
    for start in range(0, tokens.shape[1], size):
        piece = tokens[:, start : start + size]
        real = torch.arange(start, start + piece.shape[1]) < lengths.unsqueeze(1)
        yield piece, None if bool(real.all()) else real


@torch.inference_mode()
def read_rows(
    network: LanguageNetwork, rows: Sequence[Tensor], state: BackboneState | None = None
) -> tuple[Tensor, BackboneState | None]:
    """Return the logits (B, V) behind the last token of each row, and the state behind them.

    Rows may be empty, as long as one is not; their logits say nothing.
    """
    last = torch.zeros(len(rows), network.config.vocabulary)
    for piece, real in padded_pieces(rows, network.config.vocabulary):
        logits, state = network(piece, state, real)
        ends = torch.full((len(rows),), piece.shape[1]) if real is None else real.sum(1)
        some = (ends > 0).nonzero().flatten()
        last[some] = logits[some, ends[some] - 1].float().cpu()
    return last, state


@torch.inference_mode()
def row_losses(
    network: LanguageNetwork, rows: Sequence[Tensor], state: BackboneState | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Return of each row the nats (T - 1,) of its tokens but the first, float64, and whether each was the likeliest.

    Raises:
        NonFiniteError: the network's answer is none.
    """
    inputs = [row[:-1] for row in rows]
    targets = torch.nn.utils.rnn.pad_sequence([row[1:] for row in rows], batch_first=True).long()
    nats, greedy, start = [], [], 0
    for piece, real in padded_pieces(inputs, network.config.vocabulary):
        logits, state = network(piece, state)  # what stands behind a row's end changes nothing before it
        wanted = targets[:, start : start + piece.shape[1]]
        losses = F.cross_entropy(logits.double().flatten(0, 1), wanted.flatten(), reduction="none").view_as(wanted)
        check_answer(losses if real is None else losses[real], "the losses")
        nats.append(losses.cpu())
        greedy.append((logits.argmax(-1) == wanted).cpu())
        start += piece.shape[1]
    together = torch.cat(nats, 1), torch.cat(greedy, 1)
    return [(together[0][b, : len(row)], together[1][b, : len(row)]) for b, row in enumerate(inputs)]


def total_nats(network: LanguageNetwork, rows: Sequence[Tensor]) -> float:
    """Return the nats of all tokens of rows (T,) but the first of each; errors as in `row_losses`."""
    total, rest = 0.0, sorted(rows, key=len, reverse=True)
    while rest:
        count = max(1, TOGETHER // len(rest[0]))
        some, rest = rest[:count], rest[count:]
        total += sum(float(nats.sum()) for nats, _ in row_losses(network, some))
    return total
