"""Tokens of a text: the bytes of its UTF-8, or the characters that a text was seen to have.

Axes: T tokens.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from titans_seq.errors import DataError

Kind = Literal["bytes", "symbols"]
BYTES = 256
MOST_SYMBOLS = 2**15 - 2
"""So that a token fits into 16 bits."""


@dataclass(frozen=True)
class Vocabulary:
    """Text to tokens and back; one more token, `end`, stands before the first document and behind each.

    Examples:
        >>> Vocabulary.from_text("bytes", "").encode("né").tolist()
        [110, 195, 169]
        >>> letters = Vocabulary.from_text("symbols", "banana")
        >>> letters.encode("nab").tolist(), letters.decode(letters.encode("nab")), letters.size
        ([2, 0, 1], 'nab', 4)
    """

    symbols: str | None
    """The characters, in order; None: bytes."""

    @classmethod
    def from_text(cls, kind: Kind, text: str) -> Self:
        """Return bytes, or the characters of a text.

        Raises:
            DataError: unknown kind, or more characters than fit.
        """
        if kind not in get_args(Kind):
            raise DataError(f"vocabulary must be one of {', '.join(get_args(Kind))}, not {kind!r}")
        if kind == "bytes":
            return cls(None)
        symbols = "".join(sorted(set(text)))
        if len(symbols) > MOST_SYMBOLS:
            raise DataError(f"the text has {len(symbols)} different characters, more than {MOST_SYMBOLS}: use bytes")
        return cls(symbols)

    @classmethod
    def from_symbols(cls, symbols: Any, kind: str) -> Self:
        """Return the vocabulary of a saved model; raise ValueError if its symbols cannot be those of its kind."""
        if (symbols is None) != (kind == "bytes") or not isinstance(symbols, str | None):
            raise ValueError("its symbols do not fit its vocabulary")
        if symbols is not None and list(symbols) != sorted(set(symbols)):
            raise ValueError("its symbols are not in order")
        return cls(symbols)

    @property
    def end(self) -> int:
        """The token between documents."""
        return BYTES if self.symbols is None else len(self.symbols)

    @property
    def size(self) -> int:
        """Different tokens."""
        return self.end + 1

    def encode(self, text: str) -> Tensor:
        """Return the tokens (T,) int16.

        Raises:
            DataError: a character that no token stands for; the message says which and where.
        """
        data = utf8(text)
        if self.symbols is None:
            return torch.from_numpy(np.frombuffer(data, np.uint8).astype(np.int16))
        known = np.frombuffer(self.symbols.encode("utf-32-le"), np.uint32)
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        found = np.searchsorted(known, points).clip(max=len(known) - 1)
        wrong = known[found] != points
        if wrong.any():
            place = int(wrong.argmax())
            raise DataError(f"{text[place]!r} at position {place + 1} is not in the model's vocabulary of symbols")
        return torch.from_numpy(found.astype(np.int16))

    def encode_pieces(self, parts: Iterable[str]) -> Iterator[Tensor]:
        """Yield the tokens of a text in pieces, behind an `end`, which stands before every document."""
        yield torch.tensor([self.end], dtype=torch.int16)
        for part in parts:
            yield self.encode(part)

    def decode(self, tokens: Tensor) -> str:
        """Return the text; bytes that are no UTF-8 become the replacement character."""
        return "".join(self.decode_stream(iter(tokens.tolist())))

    def decode_stream(self, tokens: Iterator[int]) -> Iterator[str]:
        """Yield characters as soon as their tokens are complete, up to the first `end`."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            if token == self.end:
                break
            piece = self.symbols[token] if self.symbols is not None else decoder.decode(bytes([token]))
            if piece:
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest


def utf8(text: str) -> bytes:
    """Return the bytes of a text.

    Raises:
        DataError: it holds what is no character (half of a surrogate pair).
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{text[error.start]!r} at position {error.start + 1} is no character of UTF-8") from None
