"""What follows a prompt, token by token, for one row or many of different lengths.

Axes: T tokens.
"""

import codecs
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from titans_seq.backbone import BackboneState
from titans_seq.domains.language.network import LanguageNetwork
from titans_seq.domains.language.rows import read_rows
from titans_seq.domains.language.sampling import Sampler, Sampling
from titans_seq.domains.language.vocabulary import Vocabulary
from titans_seq.errors import DataError


class Continuation:
    """Rows that go on, a token each at a time, in constant time and memory; each draws as it would alone.

    Args:
        network: gives the chances.
        prompts: tokens (T,) of each row, at least one.
        sampling: how each row chooses.
    """

    def __init__(self, network: LanguageNetwork, prompts: Sequence[Tensor], sampling: Sampling) -> None:
        self.network = network
        self.rows = [*range(len(prompts))]
        """The rows that still go on."""
        self.samplers = [Sampler(sampling, prompt) for prompt in prompts]
        self.state: BackboneState | None = None
        self.waiting: Sequence[Tensor] = prompts
        """Tokens of each row that the network has not read yet."""

    def draw(self) -> dict[int, int]:
        """Return the next token of each row that still goes on, by row."""
        last, self.state = read_rows(self.network, self.waiting, self.state)
        drawn = {row: self.samplers[row](logits) for row, logits in zip(self.rows, last, strict=True)}
        self.waiting = [torch.tensor([token]) for token in drawn.values()]
        return drawn

    def drop(self, rows: set[int]) -> None:
        """Leave rows out from now on."""
        kept = [place for place, row in enumerate(self.rows) if row not in rows]
        if len(kept) < len(self.rows) and kept:
            assert self.state is not None
            self.state = self.state.select(kept)
        self.rows = [self.rows[place] for place in kept]
        self.waiting = [self.waiting[place] for place in kept]


class Writing:
    """The text of one row while its tokens are drawn: characters that are complete, up to `end` or a stop string.

    Args:
        vocabulary: of the tokens.
        stops: strings of which the first to appear ends the text, before it.
    """

    def __init__(self, vocabulary: Vocabulary, stops: Sequence[str] = ()) -> None:
        self.vocabulary, self.stops = vocabulary, stops
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.held = ""
        """Characters that may be the beginning of a stop string."""
        self.ended = False

    def push(self, token: int) -> str:
        """Take a token; return the characters that it completes. After the end there is nothing."""
        if self.ended:
            return ""
        if token == self.vocabulary.end:
            return self.finish()
        return self._push(self.decoder.decode(self.vocabulary.contents[token]))

    def finish(self) -> str:
        """End the text; return what was held back."""
        if self.ended:
            return ""
        piece = self._push(self.decoder.decode(b"", final=True))
        rest, self.held, self.ended = "" if self.ended else self.held, "", True
        return piece + rest

    def _push(self, piece: str) -> str:
        text = self.held + piece
        found = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if found:
            self.held, self.ended = "", True
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self.stops), default=0)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]


def check_stops(stop: str | Iterable[str] | None) -> list[str]:
    """Return stop strings as a list; raise DataError for an empty one or one that is none."""
    stops = [] if stop is None else [stop] if isinstance(stop, str) else [*stop]
    for item in stops:
        if not isinstance(item, str) or not item:
            raise DataError(f"a stop string must be a str of at least one character, not {item!r}")
    return stops


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of a text that begins a stop string."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
