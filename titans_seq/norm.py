"""Root mean square normalisation (arXiv 1910.07467) that autocast cannot make coarse."""

from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` in the precision of its own weight, whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim)."""
        return super().forward(x.to(self.weight.dtype))
