"""Sequence models whose memory learns at test time.

What is exported is imported when it is first used: torch takes a second, which `titans-seq --help` need not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from titans_seq.version import __version__

if TYPE_CHECKING:
    from titans_seq.backbone import BackboneConfig, TitansBackbone
    from titans_seq.backbone.presets import preset
    from titans_seq.memory import MemoryConfig, NeuralMemory, build_kernel, kernel_ready
    from titans_seq.state_file import load_state, save_state

HOMES = {
    "BackboneConfig": "titans_seq.backbone",
    "MemoryConfig": "titans_seq.memory",
    "NeuralMemory": "titans_seq.memory",
    "TitansBackbone": "titans_seq.backbone",
    "build_kernel": "titans_seq.memory",
    "kernel_ready": "titans_seq.memory",
    "load_state": "titans_seq.state_file",
    "preset": "titans_seq.backbone.presets",
    "save_state": "titans_seq.state_file",
}

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


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
