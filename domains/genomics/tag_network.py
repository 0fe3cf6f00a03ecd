"""The tagging network: a class for every letter, from both directions of a sequence.

Axes: B sequences, L letters, T tokens, C channels, K classes, S letters of a token.
"""

from dataclasses import dataclass, replace
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.genomics.alphabet import PAD, UNKNOWN
from titans_seq.domains.genomics.mixers import build_mixer, convolve_same
from titans_seq.domains.genomics.network import LARGEST, MAX_KMER_SIZE, Mixer, Strand
from titans_seq.domains.genomics.orfs import STOPS
from titans_seq.domains.genomics.strand import flip_complement
from titans_seq.dropout import Dropout
from titans_seq.norm import RMSNorm

BOTH_STOPS = (STOPS, (60, 28, 52))
"""Stop codons, and those of the other strand, read on this one: TTA, CTA, TCA."""


@dataclass(frozen=True, kw_only=True)
class TaggerConfig:
    """Sizes and options of a [`TaggerNetwork`][titans_seq.domains.genomics.tag_network.TaggerNetwork]."""

    classes: int
    """Classes K; two or more."""

    strand: Strand = "both"
    """"both" gives a letter and its complement on the other strand the same class; "given" is for classes that have a
    direction, as the places of a codon."""

    token: int = 3
    """Letters that become one token; each keeps a class of its own."""

    stem_width: int = 15
    """Letters that the first convolution sees."""

    word: int = 6
    """Letters of the words that have a learned vector each, as two codons have; 0: none."""

    reading_frames: bool = True
    """Read too how far away the last stop codon and the next one are, in each of six reading frames; `token` must be a
    multiple of 3."""

    mixer: Mixer = "backbone"
    """What mixes the tokens; "convolution" and "none" are for comparison."""

    backbone: BackboneConfig

    def __post_init__(self) -> None:
        for name, least in {"classes": 2, "token": 1, "stem_width": 1, "word": 0}.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST:
                raise ValueError(f"{name} must be a whole number from {least} to {LARGEST}, not {value!r}")
        if self.word > MAX_KMER_SIZE:
            raise ValueError(f"word must be at most {MAX_KMER_SIZE}, not {self.word}")
        if self.reading_frames and self.token % 3:
            raise ValueError(f"reading_frames needs a token of 3, 6, ... letters, not {self.token}")
        for name, known in (("strand", get_args(Strand)), ("mixer", get_args(Mixer))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")


class TaggerNetwork(nn.Module):
    """Turn codes into logits of each letter; neither padding nor the other rows of a batch change a row.

    Each memory, with the same weights, reads a sequence from the left and its reverse complement, and between two
    layers the directions tell each other what they have read: a letter knows both sides. With strand="both" the two
    directions are interchangeable, exactly for lengths that tokens divide.
    """

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.backbone.dim
        self.stem = nn.Conv1d(4, dim, config.stem_width)
        self.words = nn.Embedding(4**config.word + 1, dim, padding_idx=4**config.word) if config.word else None
        if self.words is not None:
            nn.init.zeros_(self.words.weight)  # noise of its own would drown the letters
        self.join = nn.Conv1d(dim, dim, config.token, stride=config.token)
        self.frames = nn.Linear(len(BOTH_STOPS) * 6, dim) if config.reading_frames else None
        self.norm = RMSNorm(dim)
        one = replace(config.backbone, layers=1)
        self.mixers = nn.ModuleList(build_mixer(config.mixer, one) for _ in range(config.backbone.layers))
        self.exchanges = nn.ModuleList(nn.Linear(2 * dim, dim) for _ in range(config.backbone.layers - 1))
        self.dropout = Dropout(config.backbone.dropout)
        self.hidden = nn.Linear(2 * dim, 2 * dim)
        self.head = nn.Linear(2 * dim, config.token * config.classes)

    def forward(self, codes: Tensor) -> Tensor:
        """Return logits (B, L, K) of codes (B, L), padded behind with `alphabet.PAD`."""
        size = codes.shape[1]
        codes = F.pad(codes.long(), (0, -size % self.config.token), value=PAD)
        both = torch.cat([codes, flip_complement(codes)])
        mask = (both != PAD).unflatten(1, (-1, self.config.token)).any(-1)
        x = self.embed(both)
        for mixer, exchange in zip(self.mixers, [*self.exchanges, None], strict=True):
            h = mixer(x, mask)
            if exchange is not None:  # each direction learns what the other one has read, from its own side
                x = x + exchange(torch.cat([h, h.roll(len(codes), 0).flip(1)], -1)) * mask.unsqueeze(-1)
        forward, backward = h.chunk(2)
        backward = backward.flip(1)
        logits = self.letter_logits(forward, backward)
        if self.config.strand == "both":
            logits = (logits + self.letter_logits(backward.flip(1), forward.flip(1)).flip(1)) / 2
        return logits[:, :size]

    def embed(self, codes: Tensor) -> Tensor:
        """Return tokens (B, T, C) of codes (B, L) int64; tokens divide L."""
        letters = F.one_hot(codes, PAD + 1)[..., :UNKNOWN].to(self.head.weight.dtype).mT  # (B, 4, L)
        x = F.gelu(convolve_same(self.stem, letters))
        if self.words is not None:
            x = x + self.words(self.number_words(codes)).mT
        tokens: Tensor = self.join(x).mT
        if self.frames is not None:
            tokens = tokens + self.frames(stop_distances(codes, self.config.token).to(tokens.dtype))
        return self.norm(tokens)  # type: ignore[no-any-return]

    def number_words(self, codes: Tensor) -> Tensor:
        """Return the number of the word around each letter of codes (B, L) int64; the last one where it is unknown."""
        size = self.config.word
        windows = F.pad(codes, ((size - 1) // 2, size // 2), value=PAD).unfold(1, size, 1)  # (B, L, word)
        numbers = (windows * 4 ** torch.arange(size, device=codes.device)).sum(-1)
        return numbers.where((windows < UNKNOWN).all(-1), 4**size)

    def letter_logits(self, forward: Tensor, backward: Tensor) -> Tensor:
        """Return logits (B, L, K) of what was read from either side, each (B, T, C)."""
        h = F.gelu(self.hidden(self.dropout(torch.cat([forward, backward], -1))))
        logits: Tensor = self.head(h).unflatten(-1, (self.config.token, self.config.classes)).flatten(1, 2)
        return logits


def stop_distances(codes: Tensor, token: int) -> Tensor:
    """Return how far away stop codons are, (B, T, 12), T tokens of `token` letters each, a multiple of 3.

    For either strand and three frames, behind and ahead: log2(1 + codons) / 8, counted from the token's first codon.
    The ends of a sequence count as stop codons, and letters that are unknown as none.

    Args:
        codes: (B, L) int64; tokens divide L.
    """
    found = []
    for stops in BOTH_STOPS:
        for frame in range(3):
            own = F.pad(codes, (0, frame), value=PAD)[:, frame:].unflatten(1, (-1, 3))  # (B, L / 3, 3)
            number = (own * own.new_tensor([16, 4, 1])).sum(-1).where((own < UNKNOWN).all(-1), -1)
            is_stop = torch.isin(number, number.new_tensor(stops)) | (own == PAD).any(-1)
            place = torch.arange(is_stop.shape[1], device=codes.device).expand_as(is_stop)
            last = place.where(is_stop, -1).cummax(1).values
            following = (-place).where(is_stop, -is_stop.shape[1]).flip(1).cummax(1).values.flip(1)
            found += [place - last, -following - place]
    distances = torch.stack(found, -1)[:, :: token // 3]
    return (1 + distances.float()).log2() / 8
