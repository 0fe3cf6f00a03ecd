"""Titans backbones behind one contract: `h, state = net(x, state, mask)`."""

from titans_seq.backbone.config import BackboneConfig
from titans_seq.backbone.model import BackboneState, TitansBackbone

__all__ = ["BackboneConfig", "BackboneState", "TitansBackbone"]
