"""DNA: sequences in, classes out."""

from titans_seq.domains.genomics.classifier import TitansDNAClassifier
from titans_seq.domains.genomics.encoder import SequenceEncoder

__all__ = ["SequenceEncoder", "TitansDNAClassifier"]
