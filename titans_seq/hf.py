"""A language model as the library `transformers` knows it (extra `transformers`), by a short name."""

from titans_seq.domains.language.hugging_face import TitansCache, TitansConfig, TitansForCausalLM, export_model

__all__ = ["TitansCache", "TitansConfig", "TitansForCausalLM", "export_model"]
