"""Byte pairs: tokens of several bytes that are frequent in a text, by the package `tokenizers`.

Axes: T tokens.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from titans_seq.domains.language.vocabulary import BYTES, MOST_TOKENS, Vocabulary, utf8
from titans_seq.errors import DataError

LONGEST_WORD = 2**16
"""Characters; a longer one in a text that comes in pieces may be cut where another piece would not cut it."""

LONGEST_TOKEN = 64
"""Bytes of a token at the most."""

LEARN_FROM = 20_000_000
"""Characters from which pairs are learned at the most."""

BOUNDARY = re.compile(r"(?s).*(?:\n|\S(?=\s))")
"""Up to the last place that no token crosses."""


@dataclass(frozen=True)
class BytePairs(Vocabulary):
    """The 256 bytes, then one token for each pair of earlier tokens (arXiv 1508.07909), as GPT-2 cuts words.

    A line break is always a token of its own.

    Raises:
        ValueError: a pair is not made of earlier tokens, or is too long.
    """

    merges: tuple[tuple[int, int], ...]
    """The pairs, in the order in which they are joined."""

    kind = "bpe"

    def __post_init__(self) -> None:
        _ = self.contents

    @classmethod
    def learn(cls, text: str, size: int) -> Self:
        """Return the pairs that are most frequent in a text, for `size` different tokens at the most.

        Raises:
            DataError: the package `tokenizers` is missing.
        """
        tokenizer = _tokenizer({}, [])
        from tokenizers import trainers

        alphabet = byte_letters()
        trainer = trainers.BpeTrainer(
            vocab_size=size - 1, initial_alphabet=alphabet, max_token_length=LONGEST_TOKEN // 2, show_progress=False
        )
        utf8(text)
        tokenizer.train_from_iterator((line + "\n" for line in text[:LEARN_FROM].split("\n")), trainer)
        ids = {letter: byte for byte, letter in enumerate(alphabet)}
        merges = []
        for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
            merges.append((ids[left], ids[right]))
            ids.setdefault(left + right, len(ids))
        return cls(tuple(merges))

    @cached_property
    def contents(self) -> list[bytes]:
        """Return the bytes of each token."""
        order = [bytes([byte]) for byte in range(BYTES)]
        found = set(order)
        for left, right in self.merges:
            if not (0 <= left < len(order) and 0 <= right < len(order)):
                raise ValueError(f"the pair {left}, {right} is not made of earlier tokens")
            joined = order[left] + order[right]
            if len(joined) > LONGEST_TOKEN:
                raise ValueError(f"the pair {left}, {right} has more than {LONGEST_TOKEN} bytes")
            if joined not in found:
                found.add(joined)
                order.append(joined)
        if len(order) > MOST_TOKENS:
            raise ValueError(f"at most {MOST_TOKENS} tokens, not {len(order)}")
        return order

    @cached_property
    def tokenizer(self) -> Any:
        """Return the `tokenizers.Tokenizer` of these pairs."""
        letters = byte_letters()
        names = ["".join(letters[byte] for byte in content) for content in self.contents]
        vocabulary = {name: token for token, name in enumerate(names)}
        return _tokenizer(vocabulary, [(names[left], names[right]) for left, right in self.merges])

    def encode(self, text: str) -> Tensor:
        """Return the tokens (T,) int16."""
        utf8(text)
        return torch.from_numpy(np.array(self.tokenizer.encode(text).ids, np.int16))

    def cut(self, parts: Iterable[str]) -> Iterator[str]:
        """Yield the text in pieces that end where no token crosses."""
        rest = ""
        for part in parts:
            rest += part
            found = BOUNDARY.match(rest)
            end = found.end() if found else 0
            if not end and len(rest) > LONGEST_WORD:
                end = len(rest)
            if end:
                yield rest[:end]
                rest = rest[end:]
        if rest:
            yield rest


def byte_letters() -> list[str]:
    """Return the printable letter that stands for each byte in files of `tokenizers`, as GPT-2 chose them."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(BYTES, 2 * BYTES))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(BYTES)]


def _tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Any:
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    except ModuleNotFoundError:
        raise DataError("tokenizers is not installed: pip install 'titans-seq[bpe]'") from None
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("\n", "isolated"), words])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
