"""Sequence models whose memory learns at test time."""

from titans_seq.backbone import BackboneConfig, TitansBackbone
from titans_seq.memory import MemoryConfig, NeuralMemory
from titans_seq.version import __version__

__all__ = ["BackboneConfig", "MemoryConfig", "NeuralMemory", "TitansBackbone", "__version__"]
