"""Language: a byte-level model whose memory lasts, recall tasks, needles in haystacks, and an evaluation harness."""

from typing import TYPE_CHECKING

from titans_seq.lazy import export_lazily

if TYPE_CHECKING:
    from titans_seq.domains.language.datasets import load_topics
    from titans_seq.domains.language.documents import Documents
    from titans_seq.domains.language.language_model import TitansLM

__all__ = ["Documents", "TitansLM", "load_topics"]

__getattr__, __dir__ = export_lazily(
    __name__,
    {
        "Documents": "titans_seq.domains.language.documents",
        "TitansLM": "titans_seq.domains.language.language_model",
        "load_topics": "titans_seq.domains.language.datasets",
    },
)
