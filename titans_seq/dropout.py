"""Dropout (arXiv 1207.0580) that draws one byte a feature on processors, where drawing takes long."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 256
"""Values of a byte: the share of features that are set to zero is a multiple of 1 / STEPS, and at least that."""


class Dropout(nn.Dropout):
    """`nn.Dropout` whose share on a processor is the nearest multiple of 1/256."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (...) to (...)."""
        if x.device.type != "cpu" or not self.training or not 0 < self.p < 1 or torch.compiler.is_compiling():
            return F.dropout(x, self.p, self.training)
        dropped = min(STEPS - 1, max(1, round(STEPS * self.p)))
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)  # eight bytes a draw
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        return x * kept.to(x.dtype).mul_(STEPS / (STEPS - dropped))
