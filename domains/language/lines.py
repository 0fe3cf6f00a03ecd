"""Bits per byte of each line of a stream. Axes: T tokens."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from titans_seq.domains.language.evaluation import stream_losses
from titans_seq.domains.language.network import LanguageNetwork
from titans_seq.domains.language.vocabulary import Vocabulary, utf8


def score_lines(network: LanguageNetwork, vocabulary: Vocabulary, parts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the lines of a text in pieces, each as soon as it is read; see `TitansLM.score_lines`."""
    lines = list[str]()

    def keep() -> Iterator[str]:
        for line in split_lines(parts):
            lines.append(line)
            yield line

    read, number = torch.zeros(0), 0
    for losses in stream_losses(network, vocabulary.encode_pieces(keep())):
        read = torch.cat([read, losses])
        while lines and len(read) >= (size := len(vocabulary.encode(lines[0]))):
            line, number = lines.pop(0), number + 1
            bits, count = float(read[:size].double().sum()) / math.log(2), len(utf8(line))
            yield {"line": number, "bytes": count, "bits_per_byte": bits / count, "text": line.rstrip("\n")}
            read = read[size:]


def split_lines(parts: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text in pieces, each with its break."""
    rest = ""
    for part in parts:
        *whole, rest = (rest + part).split("\n")
        yield from (f"{line}\n" for line in whole)
    if rest:
        yield rest
