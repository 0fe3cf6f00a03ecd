"""Tokens of a text: the bytes of its UTF-8, the characters that a text was seen to have, or byte pairs.

Axes: T tokens.
"""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from titans_seq.errors import DataError

Kind = Literal["bytes", "symbols", "bpe"]
BYTES = 256
MOST_TOKENS = 2**15 - 1
"""So that a token fits into 16 bits."""

IGNORED = -100
"""In the place of a token that is to be guessed: nothing is (`torch.nn.functional.cross_entropy` leaves it out)."""


class Vocabulary(ABC):
    """Text to tokens and back; one more token, `end`, stands before the first document and behind each."""

    kind: Kind

    @property
    @abstractmethod
    def contents(self) -> list[bytes]:
        """Return what each token but `end` stands for, as UTF-8."""

    @abstractmethod
    def encode(self, text: str) -> Tensor:
        """Return the tokens (T,) int16.

        Raises:
            DataError: a character that no token stands for; the message says which and where.
        """

    def encode_pieces(self, parts: Iterable[str]) -> Iterator[Tensor]:
        """Yield the tokens of a text in pieces, behind an `end`, which stands before every document."""
        yield torch.tensor([self.end], dtype=torch.int16)
        for part in self.cut(parts):
            yield self.encode(part)

    def encode_begun(self, text: str) -> Tensor:
        """Return the tokens of a text behind an `end`."""
        return torch.cat([*self.encode_pieces([text])])

    def encode_document(self, text: str) -> Tensor:
        """Return the tokens of a document, with an `end` before and behind it."""
        return torch.cat([self.encode_begun(text), torch.tensor([self.end], dtype=torch.int16)])

    def cut(self, parts: Iterable[str]) -> Iterable[str]:
        """Return the same text in pieces whose tokens, put together, are those of the whole."""
        return parts

    @property
    def end(self) -> int:
        """The token between documents."""
        return len(self.contents)

    @property
    def size(self) -> int:
        """Different tokens."""
        return self.end + 1

    def decode(self, tokens: Tensor) -> str:
        """Return the text; bytes that are no UTF-8 become the replacement character."""
        return "".join(self.decode_stream(iter(tokens.tolist())))

    def decode_stream(self, tokens: Iterator[int]) -> Iterator[str]:
        """Yield characters as soon as their tokens are complete, up to the first `end`."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            if token == self.end:
                break
            if piece := decoder.decode(self.contents[token]):
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest


class Bytes(Vocabulary):
    """The bytes of UTF-8: any text.

    Examples:
        >>> Bytes().encode("né").tolist()
        [110, 195, 169]
    """

    kind: Kind = "bytes"

    @cached_property
    def contents(self) -> list[bytes]:
        """Return every byte."""
        return [bytes([byte]) for byte in range(BYTES)]

    def encode(self, text: str) -> Tensor:
        """Return the bytes (T,) int16."""
        return torch.from_numpy(np.frombuffer(utf8(text), np.uint8).astype(np.int16))


@dataclass(frozen=True)
class Symbols(Vocabulary):
    """Characters.

    Examples:
        >>> letters = Symbols.of("banana")
        >>> letters.encode("nab").tolist(), letters.decode(letters.encode("nab")), letters.size
        ([2, 0, 1], 'nab', 4)
    """

    symbols: str
    """In order, each once."""

    kind = "symbols"

    def __post_init__(self) -> None:
        if not self.symbols or list(self.symbols) != sorted(set(self.symbols)):
            raise ValueError("symbols must be different characters in order")

    @classmethod
    def of(cls, text: str) -> "Symbols":
        """Return the characters of a text; raise DataError if they are too many."""
        symbols = "".join(sorted(set(text)))
        if len(symbols) >= MOST_TOKENS:
            raise DataError(f"the text has {len(symbols)} different characters, more than {MOST_TOKENS - 1}: use bytes")
        return cls(symbols)

    @cached_property
    def contents(self) -> list[bytes]:
        """Return the characters."""
        return [symbol.encode() for symbol in self.symbols]

    def encode(self, text: str) -> Tensor:
        """Return the places of the characters (T,) int16; raise DataError for one that is not among them."""
        utf8(text)
        known = np.frombuffer(self.symbols.encode("utf-32-le"), np.uint32)
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        found = np.searchsorted(known, points).clip(max=len(known) - 1)
        wrong = known[found] != points
        if wrong.any():
            place = int(wrong.argmax())
            raise DataError(f"{text[place]!r} at position {place + 1} is not in the model's vocabulary of symbols")
        return torch.from_numpy(found.astype(np.int16))


def utf8(text: str) -> bytes:
    """Return the bytes of a text.

    Raises:
        DataError: it holds what is no character (half of a surrogate pair).
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{text[error.start]!r} at position {error.start + 1} is no character of UTF-8") from None
