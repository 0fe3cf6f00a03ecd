"""`titans-seq lm`: from a text to a language model, metrics.json, loss.png and sample.txt, compared and tracked."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from titans_seq.domains.language.task import LanguageOptions
from titans_seq.pipelines.train import TrainingCommand


@dataclass(frozen=True, kw_only=True)
class LanguageModel(LanguageOptions, TrainingCommand):
    """Train a language model on a text, compare it with n-grams and compressors, and let it write."""

    domain: ClassVar[str] = "language"
    experiment: ClassVar[str] = "lm"

    vocabulary: Literal["bytes", "bpe", "symbols"] | None = None
    """Bytes, and byte pairs (bpe), read any text later on; symbols, the characters of this text only."""
    vocabulary_size: int | None = None
    """Different byte pairs at the most."""
    dim: int | None = None
    """Width."""
    layers: int | None = None
    """Blocks."""
    context: int | None = None
    """Tokens of a training segment."""
    window: int | None = None
    """Tokens that attention sees."""
    chunk_size: int | None = None
    """Tokens whose gradients the memory takes at the same weights."""
    carry: bool = False
    """Carry the memory from one training segment to the next."""
    batch_size: int | None = None
    """Segments of a step."""
    epoch_steps: int | None = None
    """Steps of an epoch."""
    learning_rate: float | None = None
    """Peak rate."""
    output: Path = Path("runs/lm")
    """Folder for the results."""
