"""The kinds of vocabulary: learned from a text, stored with a model, and back."""

from typing import Any, get_args

from titans_seq.domains.language.byte_pairs import BytePairs
from titans_seq.domains.language.vocabulary import Bytes, Kind, Symbols, Vocabulary
from titans_seq.errors import DataError
from titans_seq.stored import Stored


class StoredVocabulary(Stored):
    """What a vocabulary learned, in a saved model."""

    symbols: str | None = None
    merges: list[tuple[int, int]] | None = None


def learn_vocabulary(kind: str, text: str, size: int) -> Vocabulary:
    """Return the vocabulary of a kind for a text.

    Args:
        size: different tokens of byte pairs, at the most.

    Raises:
        DataError: unknown kind, more characters than fit, or no library for byte pairs.
    """
    if kind == "bytes":
        return Bytes()
    if kind == "symbols":
        return Symbols.of(text)
    if kind == "bpe":
        return BytePairs.learn(text, size)
    raise DataError(f"vocabulary must be one of {', '.join(get_args(Kind))}, not {kind!r}")


def store_vocabulary(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return what a vocabulary learned, as `StoredVocabulary` has it."""
    if isinstance(vocabulary, Symbols):
        return {"symbols": vocabulary.symbols}
    if isinstance(vocabulary, BytePairs):
        return {"merges": [[*pair] for pair in vocabulary.merges]}
    return {}


def restore_vocabulary(kind: str, stored: StoredVocabulary) -> Vocabulary:
    """Return the vocabulary of a saved model; raise ValueError if what it learned is not of its kind."""
    if (kind == "symbols") != (stored.symbols is not None) or (kind == "bpe") != (stored.merges is not None):
        raise ValueError(f"what the vocabulary learned does not fit its kind, {kind!r}")
    if stored.symbols is not None:
        return Symbols(stored.symbols)
    return Bytes() if stored.merges is None else BytePairs(tuple(stored.merges))
