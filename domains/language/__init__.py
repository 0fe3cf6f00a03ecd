"""Language: a byte-level model whose memory lasts, recall tasks, needles in haystacks, and an evaluation harness."""

from titans_seq.domains.language.language_model import TitansLM

__all__ = ["TitansLM"]
