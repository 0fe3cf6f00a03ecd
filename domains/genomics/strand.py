"""The other strand of padded codes, in torch. Axes: B sequences, L letters."""

import torch
from torch import Tensor

from titans_seq.domains.genomics.alphabet import PAD, UNKNOWN

_COMPLEMENT = torch.tensor([3, 2, 1, 0, UNKNOWN, PAD])


def other_strand(codes: Tensor) -> Tensor:
    """Codes (B, L) int64 of the reverse complement, read in its own direction; padding stays behind.

    The same as `alphabet.reverse_complement`, on any device.
    """
    turned = _COMPLEMENT.to(codes.device)[codes.flip(-1)]
    size = codes.shape[-1]
    lengths = (codes != PAD).sum(-1, keepdim=True)
    place = torch.arange(size, device=codes.device)
    return turned.gather(-1, (place + size - lengths) % size)
