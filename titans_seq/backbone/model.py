"""The backbone: blocks of one variant behind one contract. Axes: B batch, T tokens."""

from dataclasses import dataclass

from torch import Tensor, nn

from titans_seq.backbone.config import BackboneConfig
from titans_seq.backbone.lmm import LMMBlock
from titans_seq.memory.neural import MemoryState, check_state
from titans_seq.ragged import compact, gather, scatter
from titans_seq.state import State
from titans_seq.validation import check_sequence

BLOCKS: dict[str, type[LMMBlock]] = {"lmm": LMMBlock}
"""Variant -> block."""


@dataclass
class BackboneState(State):
    """A backbone in the middle of a stream."""

    layers: list[MemoryState]


class TitansBackbone(nn.Module):
    """A causal sequence model: (B, T, dim) to (B, T, dim), whole or in any pieces.

    Example:
        >>> import torch
        >>> net = TitansBackbone(BackboneConfig(dim=32, layers=2, heads=2, chunk_size=8))
        >>> h, state = net(torch.randn(3, 20, 32))
        >>> h_next, state = net(torch.randn(3, 5, 32), state)
        >>> h.shape, h_next.shape
        (torch.Size([3, 20, 32]), torch.Size([3, 5, 32]))
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks: list[LMMBlock] = nn.ModuleList(BLOCKS[config.variant](config) for _ in range(config.layers))  # type: ignore[assignment]
        self.norm = nn.RMSNorm(config.dim)

    def forward(
        self, x: Tensor, state: BackboneState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, BackboneState]:
        """Take a run of tokens in.

        Args:
            x: (B, T, dim), T >= 1.
            state: what an earlier call returned; None begins a stream.
            mask: (B, T) bool, False at tokens that are to change nothing.

        Returns:
            h (B, T, dim), zero at masked tokens, and the state behind the last token.

        Raises:
            ValueError: shape, dtype or values of an input are wrong, or the state belongs elsewhere.
        """
        check_sequence(x, self.config.dim, mask)
        if state is not None:
            if len(state.layers) != len(self.blocks):
                raise ValueError(f"the state has {len(state.layers)} layers, expected {len(self.blocks)}")
            check_state(state.layers[0], x, self.config.memory)
        where = compact(mask)
        if where is not None:
            x = gather(x, where)
        layers = []
        for index, block in enumerate(self.blocks):
            lengths = None if where is None else where.lengths
            x, layer = block.step(x, None if state is None else state.layers[index], lengths)
            layers.append(layer)
        x = self.norm(x)
        return x if where is None else scatter(x, where), BackboneState(layers)
