"""Sequence models whose memory learns at test time."""

from typing import TYPE_CHECKING

from titans_seq.lazy import export_lazily
from titans_seq.version import __version__
from titans_seq.waiting import limit_spinning

limit_spinning()

if TYPE_CHECKING:
    from titans_seq.backbone import BackboneConfig, TitansBackbone
    from titans_seq.backbone.presets import preset
    from titans_seq.domains.genomics import TitansDNAClassifier
    from titans_seq.domains.language import TitansLM
    from titans_seq.domains.timeseries import TitansForecaster
    from titans_seq.kernel import build_kernel, kernel_ready
    from titans_seq.memory import MemoryConfig, NeuralMemory
    from titans_seq.state_file import load_state, save_state

__all__ = [
    "BackboneConfig",
    "MemoryConfig",
    "NeuralMemory",
    "TitansBackbone",
    "TitansDNAClassifier",
    "TitansDNATagger",
    "TitansForecaster",
    "TitansLM",
    "__version__",
    "build_kernel",
    "kernel_ready",
    "load_state",
    "preset",
    "save_state",
]

__getattr__, __dir__ = export_lazily(
    __name__,
    {
        "BackboneConfig": "titans_seq.backbone",
        "MemoryConfig": "titans_seq.memory",
        "NeuralMemory": "titans_seq.memory",
        "TitansBackbone": "titans_seq.backbone",
        "TitansDNAClassifier": "titans_seq.domains.genomics",
        "TitansDNATagger": "titans_seq.domains.genomics",
        "TitansForecaster": "titans_seq.domains.timeseries",
        "TitansLM": "titans_seq.domains.language",
        "build_kernel": "titans_seq.kernel",
        "kernel_ready": "titans_seq.kernel",
        "load_state": "titans_seq.state_file",
        "preset": "titans_seq.backbone.presets",
        "save_state": "titans_seq.state_file",
    },
)
