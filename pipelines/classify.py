"""`titans-seq classify`: from labelled sequences to a model and its scores, leaks told, compared and tracked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from titans_seq.domains.genomics.task import ClassificationOptions
from titans_seq.pipelines.train import TrainingCommand


@dataclass(frozen=True, kw_only=True)
class Classify(ClassificationOptions, TrainingCommand):
    """Fit a classifier of DNA, and compare it with composition alone and k-mer logistic regression."""

    domain: ClassVar[str] = "genomics"
    experiment: ClassVar[str] = "classify"

    strand: str | None = None
    """`both`: a sequence and its reverse complement are the same; `given`: the direction counts; none means what
    validates better."""
    pool: int | None = None
    """Letters that become one token; none means what validates better."""
    sections: int | None = None
    """Places along a sequence that count by themselves, for sequences that are aligned; none means what validates
    better."""
    balanced: bool = False
    """Weigh classes by how rare they are."""
    output: Path = Path("runs/classify")
    """Folder for the results."""

    def parameters(self) -> dict[str, Any]:
        """Return the estimator's parameters that the options give."""
        weights = {"class_weight": "balanced"} if self.balanced else {}
        return weights | super().parameters()
