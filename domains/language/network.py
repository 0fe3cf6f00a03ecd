"""A backbone between a tied embedding and its transpose.

Axes: B batch, T tokens, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from titans_seq.backbone import BackboneConfig, BackboneState, TitansBackbone

INITIAL = 0.02
"""Standard deviation of the embedding at the start: all tokens are then about as likely as each other."""


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """Sizes of a [`LanguageNetwork`][titans_seq.domains.language.network.LanguageNetwork]."""

    vocabulary: int
    """Different tokens."""

    backbone: BackboneConfig
    """What stands between embedding and head."""


class LanguageNetwork(nn.Module):
    """Tokens to logits of the next token, streaming as the backbone does."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.backbone.dim)
        nn.init.normal_(self.embedding.weight, std=INITIAL)
        self.backbone = TitansBackbone(config.backbone)

    def forward(
        self, tokens: Tensor, state: BackboneState | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, BackboneState]:
        """Return logits (B, T, V) of the successors of tokens (B, T) integers, T >= 1, and the state behind them.

        Args:
            mask: (B, T) bool, False at tokens that are to change nothing; their logits say nothing.
        """
        h, state = self.backbone(self.embedding(tokens.long()), state, mask)
        logits: Tensor = h @ self.embedding.weight.T
        return logits, state

    def renewed(self, state: BackboneState | None, fresh: Tensor) -> BackboneState | None:
        """Return the state (None: of nothing) with rows that begin anew where `fresh` (B,) bool says so."""
        if state is None or bool(fresh.all()):
            return None
        if not bool(fresh.any()):
            return state

        def pick(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(fresh.to(old.device).reshape(-1, *[1] * (old.ndim - 1)), new, old)

        first = self.backbone.initial_state(len(fresh))
        return state.replace_tensors([pick(n, o) for n, o in zip(first.tensors(), state.tensors(), strict=True)])
