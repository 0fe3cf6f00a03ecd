"""Language: a byte-level model whose memory lasts, recall tasks, needles in haystacks, and an evaluation harness."""

from titans_seq.domains.language.model import TitansLM

__all__ = ["TitansLM"]
