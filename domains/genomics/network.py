"""The classifying network: motifs, a mixer over them, masked pooling, a linear head; k-mers beside it; both strands.

Axes: B sequences, L letters, T tokens (pooled letters), C channels, K classes.
"""

from dataclasses import dataclass
from typing import Literal, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.genomics.alphabet import PAD, UNKNOWN
from titans_seq.domains.genomics.kmer_logits import KmerLogits
from titans_seq.domains.genomics.mixers import build_mixer, convolve_same, respond
from titans_seq.domains.genomics.strand import reverse_complement_tensor
from titans_seq.dropout import Dropout

Strand = Literal["both", "given"]
Mixer = Literal["backbone", "convolution", "none"]
MAX_KMER_SIZE = 8
LARGEST = 2**20
"""Any size at the most; configurations may come from a file."""
SECTION_WIDTH, SECTION_HIDDEN = 8, 128
"""Features of a place along the sequence, and of the layer behind all places."""
FLOOR = -1e4
"""Value of padding, which no maximum picks."""


@dataclass(frozen=True, kw_only=True)
class DNAConfig:
    """Sizes and options of a [`DNANetwork`][titans_seq.domains.genomics.network.DNANetwork]."""

    classes: int
    """Classes K; two or more."""

    strand: Strand = "both"
    """"both" makes a sequence and its reverse complement the same (the mean over both strands; a strand of chance in
    training); "given" is for sequences whose direction is known, as around a start of transcription."""

    motifs: int = 64
    """Filters of the first convolution."""

    motif_width: int = 12
    """Letters that a filter sees."""

    pool: int = 8
    """Letters that become one token; the strongest response of each motif counts."""

    context_width: int = 5
    """Tokens that the second convolution sees."""

    sections: int = 0
    """Places along a sequence, from its start to its end, whose features have a way to the logits of their own; for
    sequences that are aligned, as at a start of transcription. 0: position carries no meaning."""

    kmer_size: int = 6
    """Letters of the k-mers whose counts have a linear way to the logits of their own; up to 2 letters less where that
    validates better; 0: no such way."""

    letter_dropout: float = 0.1
    """Share of letters made unknown in training."""

    dropout: float = 0.2
    """Share of features set to zero in training, before the mixer and before the head."""

    mixer: Mixer = "backbone"
    """What mixes the tokens; "convolution" and "none" are for comparison."""

    backbone: BackboneConfig

    def __post_init__(self) -> None:
        sizes = {
            "classes": 2,
            "motifs": 1,
            "motif_width": 1,
            "pool": 1,
            "context_width": 1,
            "sections": 0,
            "kmer_size": 0,
        }
        for name, least in sizes.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST:
                raise ValueError(f"{name} must be a whole number from {least} to {LARGEST}, not {value!r}")
        if self.kmer_size > MAX_KMER_SIZE:
            raise ValueError(f"kmer_size must be at most {MAX_KMER_SIZE}, not {self.kmer_size}")
        for name in ("letter_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)!r}")
        for name, known in (("strand", get_args(Strand)), ("mixer", get_args(Mixer))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")


class DNANetwork(nn.Module):
    """Turn codes into logits; neither padding nor the other rows of a batch change a row.

    Evaluated, strand="both" is the mean of the logits of both strands, so a sequence and its reverse complement are
    the same to it; in training each sequence is read on a strand of chance. The memory is causal: on one strand it
    reads a sequence in one direction, on the other in the other.
    """

    def __init__(self, config: DNAConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.backbone.dim
        self.motifs = nn.Conv1d(4, config.motifs, config.motif_width, bias=False)
        self.motif_norm = MaskedBatchNorm(config.motifs)
        self.context = nn.Conv1d(config.motifs, dim, config.context_width, bias=False)
        self.context_norm = MaskedBatchNorm(dim)
        self.mixer = build_mixer(config.mixer, config.backbone)
        self.attention = nn.Linear(dim, 1)
        self.norm = nn.LayerNorm(3 * dim)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(3 * dim, config.classes)
        self.sections = Sections(config) if config.sections else None
        self.kmers = KmerLogits(config.kmer_size, config.classes) if config.kmer_size else None

    def forward(self, codes: Tensor, kmer_logits: Tensor | None = None) -> Tensor:
        """Return logits (B, K) of codes (B, L), padded behind with `alphabet.PAD`.

        Args:
            kmer_logits: logits (B, K) that stand for those of the k-mers, in training.
        """
        codes = codes.long()
        if self.config.strand == "given":
            return self.strand_logits(codes, kmer_logits)
        if not self.training:
            return (self.strand_logits(codes) + self.strand_logits(reverse_complement_tensor(codes))) / 2
        swapped = torch.rand(len(codes), 1, device=codes.device) < 0.5
        return self.strand_logits(reverse_complement_tensor(codes).where(swapped, codes), kmer_logits)

    def strand_logits(self, codes: Tensor, kmer_logits: Tensor | None = None) -> Tensor:
        """Return logits (B, K) of codes (B, L) int64, read on this strand."""
        visible = codes
        if self.training and self.config.letter_dropout:
            is_dropped = torch.rand(codes.shape, device=codes.device) < self.config.letter_dropout
            visible = codes.masked_fill(is_dropped & (codes != PAD), UNKNOWN)
        x, mask = self.embed(visible)
        out = self.head_logits(self.mixer(self.dropout(x), mask), mask)
        if self.kmers is None:
            return out
        return out + (self.kmers(codes) if kmer_logits is None else kmer_logits)

    def one_hot_logits(self, letters: Tensor) -> Tensor:
        """Return logits (B, K) of one-hot letters (B, 4, L), evaluated as `forward` does, with a gradient in each.

        A column of zeros is an unknown letter. Between one-hot letters, k-mers are the product of their letters.
        """
        strands = [letters, letters.flip(1, 2)] if self.config.strand == "both" else [letters]
        out = letters.new_zeros(len(letters), self.config.classes)
        for strand in strands:
            x, mask = self.embed_letters(strand, letters.new_ones(len(letters), letters.shape[2], dtype=torch.bool))
            out = out + self.head_logits(self.mixer(self.dropout(x), mask), mask)
            if self.kmers is not None:
                out = out + self.kmers.one_hot_logits(strand)
        return out / len(strands)

    def features(self, codes: Tensor) -> Tensor:
        """Return what the head reads of codes (B, L), (B, 3 C); of strand="both" the mean over both strands."""
        codes = codes.long()
        strands = [codes, reverse_complement_tensor(codes)] if self.config.strand == "both" else [codes]
        found = []
        for strand in strands:
            x, mask = self.embed(strand)
            found.append(self.norm(self.pool_tokens(self.mixer(x, mask), mask)))
        return torch.stack(found).mean(0)

    def head_logits(self, h: Tensor, mask: Tensor) -> Tensor:
        """Return logits (B, K) of mixed tokens (B, T, C) where mask (B, T) is True."""
        out: Tensor = self.head(self.dropout(self.norm(self.pool_tokens(h, mask))))
        return out if self.sections is None else out + self.sections(h, mask)

    def embed(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, T, C) of codes (B, L) int64, and a mask (B, T), False where they are padding."""
        letters = F.one_hot(codes, PAD + 1)[..., :UNKNOWN].to(self.head.weight.dtype).mT
        return self.embed_letters(letters, codes != PAD)

    def embed_letters(self, letters: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, T, C) of one-hot letters (B, 4, L), True in mask (B, L), and the mask (B, T) of tokens."""
        pool = self.config.pool
        missing = -letters.shape[2] % pool
        x = respond(self.motifs, letters)
        if not bool(mask.all()):
            x = x.masked_fill(~mask.unsqueeze(-1), FLOOR)
        x = F.pad(x, (0, 0, 0, missing), value=FLOOR).unflatten(1, (-1, pool)).amax(2).mT
        mask = F.pad(mask, (0, missing)).unflatten(1, (-1, pool)).any(-1)
        x = F.relu(self.motif_norm(x, mask))
        x = self.context_norm(convolve_same(self.context, x), mask)
        return F.gelu(x).mT, mask

    def pool_tokens(self, h: Tensor, mask: Tensor) -> Tensor:
        """Return mean, maximum and attention-weighted mean (B, 3 C) of tokens (B, T, C) where mask (B, T) is True."""
        padding = ~mask.unsqueeze(-1)
        mean = h.sum(1) / mask.sum(1, keepdim=True)
        maximum = h.masked_fill(padding, -torch.inf).amax(1)
        weights = self.attention(h).masked_fill(padding, -torch.inf).softmax(1)
        return torch.cat([mean, maximum, (weights * h).sum(1)], -1)


class DNAEnsemble(nn.Module):
    """Networks of one configuration whose logits are averaged.

    Args:
        config: of each network.
        size: networks.
    """

    def __init__(self, config: DNAConfig, size: int) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(DNANetwork(config) for _ in range(size))

    @classmethod
    def of(cls, networks: list[DNANetwork]) -> Self:
        """Return the ensemble of trained networks of one configuration."""
        whole = cls(networks[0].config, 0)
        whole.members.extend(networks)
        return whole.eval()

    @property
    def networks(self) -> list[DNANetwork]:
        """The networks."""
        return list(self.members)  # type: ignore[arg-type]

    def forward(self, codes: Tensor) -> Tensor:
        """Return logits (B, K) of codes (B, L), padded behind with `alphabet.PAD`."""
        return torch.stack([network(codes) for network in self.networks]).mean(0)

    def one_hot_logits(self, letters: Tensor) -> Tensor:
        """See `DNANetwork.one_hot_logits`."""
        return torch.stack([network.one_hot_logits(letters) for network in self.networks]).mean(0)

    def features(self, codes: Tensor) -> Tensor:
        """Return what the heads read of codes (B, L), one network's behind the other's."""
        return torch.cat([network.features(codes) for network in self.networks], -1)


class Sections(nn.Module):
    """Logits that know positions: tokens brought to a fixed number of places, flattened, one hidden layer."""

    def __init__(self, config: DNAConfig) -> None:
        super().__init__()
        self.places = config.sections
        self.narrow = nn.Linear(config.backbone.dim, SECTION_WIDTH)
        self.hidden = nn.Linear(SECTION_WIDTH * self.places, SECTION_HIDDEN)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(SECTION_HIDDEN, config.classes)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """Return logits (B, K) of tokens (B, T, C), zero where mask (B, T) is False."""
        placed = self.place_weights(mask).to(h.dtype) @ self.narrow(h)  # (B, P, width)
        out: Tensor = self.head(self.dropout(F.gelu(self.hidden(self.dropout(placed.flatten(1))))))
        return out

    def place_weights(self, mask: Tensor) -> Tensor:
        """Return weights (B, P, T) of tokens at places, rows adding up to 1: interpolation of few, means of many."""
        count = mask.sum(1)[:, None, None].to(torch.float32)
        token = torch.arange(mask.shape[1], device=mask.device) + 0.5
        place = (torch.arange(self.places, device=mask.device) + 0.5).unsqueeze(-1) / self.places * count
        place = place.clamp(min=torch.full_like(count, 0.5), max=count - 0.5)
        near = (1 - (token - place).abs() / (count / self.places).clamp_min(1)).clamp_min(0) * mask.unsqueeze(1)
        return near / near.sum(-1, keepdim=True)


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalization over the places where a mask is True."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return normalized x (B, C, T), zero where mask (B, T) is False."""
        if mask is None or bool(mask.all()):
            return self._normalize(x)
        normalized = self._normalize(x.mT[mask])  # (places, C)
        return x.new_zeros(x.mT.shape).masked_scatter(mask.unsqueeze(-1), normalized).mT

    def _normalize(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:  # one place has no variance
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)
