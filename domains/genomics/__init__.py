"""DNA: sequences in, classes out."""

from typing import TYPE_CHECKING

from titans_seq.lazy import export_lazily

if TYPE_CHECKING:
    from titans_seq.domains.genomics.classifier import TitansDNAClassifier
    from titans_seq.domains.genomics.datasets import load_chloroplast
    from titans_seq.domains.genomics.encoder import SequenceEncoder
    from titans_seq.domains.genomics.tagger import TitansDNATagger

__all__ = ["SequenceEncoder", "TitansDNAClassifier", "TitansDNATagger", "load_chloroplast"]

__getattr__, __dir__ = export_lazily(
    __name__,
    {
        "SequenceEncoder": "titans_seq.domains.genomics.encoder",
        "load_chloroplast": "titans_seq.domains.genomics.datasets",
        "TitansDNAClassifier": "titans_seq.domains.genomics.classifier",
        "TitansDNATagger": "titans_seq.domains.genomics.tagger",
    },
)
