"""The neural long-term memory: configuration, pure functions, streaming and the module."""

from titans_seq.memory.config import MemoryConfig
from titans_seq.memory.neural import MemoryState, NeuralMemory

__all__ = ["MemoryConfig", "MemoryState", "NeuralMemory"]
