"""Sequence models whose memory learns at test time."""

from titans_seq.backbone import BackboneConfig, TitansBackbone
from titans_seq.backbone.presets import preset
from titans_seq.memory import MemoryConfig, NeuralMemory, build_kernel, kernel_ready
from titans_seq.state_file import load_state, save_state
from titans_seq.version import __version__

__all__ = [
    "BackboneConfig",
    "MemoryConfig",
    "NeuralMemory",
    "TitansBackbone",
    "__version__",
    "build_kernel",
    "kernel_ready",
    "load_state",
    "preset",
    "save_state",
]
