"""The reverse complement of padded codes, in torch. Axes: B sequences, L letters."""

import torch
from torch import Tensor

from titans_seq.domains.genomics.alphabet import PAD, UNKNOWN

_COMPLEMENT = torch.tensor([3, 2, 1, 0, UNKNOWN, PAD])


def reverse_complement_tensor(codes: Tensor) -> Tensor:
    """Return the codes (B, L) int64 of the other strand, read in its own direction; padding stays behind.

    The same as `alphabet.reverse_complement`, on any device.
    """
    complement = flip_complement(codes)
    size = codes.shape[-1]
    lengths = (codes != PAD).sum(-1, keepdim=True)
    index = (torch.arange(size, device=codes.device) + size - lengths) % size
    return complement.gather(-1, index)


def flip_complement(codes: Tensor) -> Tensor:
    """Return the codes (B, L) int64 of the other strand, read in its own direction; padding comes first."""
    return _COMPLEMENT.to(codes.device)[codes.flip(-1)]
