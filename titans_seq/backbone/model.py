"""The backbone: blocks of one variant behind one contract. Axes: B batch, T tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from titans_seq.backbone.bare import BareBlock
from titans_seq.backbone.block import Block
from titans_seq.backbone.config import BackboneConfig
from titans_seq.backbone.gru import GRUBlock
from titans_seq.backbone.lmm import LMMBlock
from titans_seq.backbone.mac import MACBlock
from titans_seq.backbone.mag import MAGBlock
from titans_seq.backbone.mal import MALBlock
from titans_seq.backbone.transformer import AttentionBlock
from titans_seq.norm import RMSNorm
from titans_seq.ragged import compact, gather, scatter
from titans_seq.shapes import shapes_only
from titans_seq.state import State, check_state, template
from titans_seq.validation import check_sequence

BLOCKS: dict[str, type[Block]] = {
    "lmm": LMMBlock,
    "mac": MACBlock,
    "mag": MAGBlock,
    "mal": MALBlock,
    "attention": AttentionBlock,
    "gru": GRUBlock,
    "none": BareBlock,
}
"""Variant -> block."""


@dataclass
class BackboneState(State):
    """A backbone in the middle of a stream."""

    layers: list[State]


class TitansBackbone(nn.Module):
    """A causal sequence model: (B, T, dim) to (B, T, dim), whole or in any pieces.

    Examples:
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
        self.blocks: list[Block] = nn.ModuleList(BLOCKS[config.variant](config) for _ in range(config.layers))  # type: ignore[assignment]
        self.norm = RMSNorm(config.dim)
        with shapes_only():
            self._template = template(self._initial_state(1, torch.empty(0)))

    def initial_state(self, batch: int) -> BackboneState:
        """Return the state before the first token of each of `batch` rows."""
        return self._initial_state(batch, self.norm.weight)

    def _initial_state(self, batch: int, like: Tensor) -> BackboneState:
        return BackboneState([block.initial_state(batch, like) for block in self.blocks])

    def forward(
        self,
        x: Tensor,
        state: BackboneState | None = None,
        mask: Tensor | None = None,
        between: list[Tensor] | None = None,
    ) -> tuple[Tensor, BackboneState]:
        """Take a run of tokens in.

        Args:
            x: (B, T, dim), T >= 1.
            state: what an earlier call returned; None begins a stream.
            mask: (B, T) bool, False at tokens that are to change nothing.
            between: a list that gets what goes from each block to the next, (B, T, dim) each.

        Returns:
            h (B, T, dim), zero at masked tokens, and the state behind the last token.

        Raises:
            ValueError: shape, dtype or values of an input are wrong, or the state belongs elsewhere.
        """
        check_sequence(x, self.config.dim, mask)
        if state is not None:
            check_state(state, self._template, x.shape[0])
        where = compact(mask)
        if where is not None:
            x = gather(x, where)
        layers = []
        for index, block in enumerate(self.blocks):
            lengths = None if where is None else where.lengths
            x, layer = block.step(x, None if state is None else state.layers[index], lengths)
            layers.append(layer)
            if between is not None and index + 1 < len(self.blocks):
                between.append(x if where is None else scatter(x, where))
        x = self.norm(x)
        return x if where is None else scatter(x, where), BackboneState(layers)
