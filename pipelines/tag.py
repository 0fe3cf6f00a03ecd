"""`titans-seq tag`: from an annotated genome to a model that tells the class of every letter."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from titans_seq.domains.genomics.tag_task import TaggingOptions
from titans_seq.pipelines.train import TrainingCommand


@dataclass(frozen=True, kw_only=True)
class Tag(TaggingOptions, TrainingCommand):
    """Fit a tagger of DNA letters, and compare it with open reading frames."""

    domain: ClassVar[str] = "tagging"
    experiment: ClassVar[str] = "tag"

    strand: str | None = None
    """`both`: a letter and its complement have the same class; `given`: classes have a direction, as frames."""
    output: Path = Path("runs/tag")
    """Folder for the results."""
