"""A language model as the library `transformers` knows them (extra `transformers`).

Importing this package is what makes `AutoConfig`, `AutoModelForCausalLM` and `AutoTokenizer` know "titans".
"""

try:
    import transformers
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("transformers is not installed: pip install 'titans-seq[transformers]'") from error

from titans_seq.domains.language.hugging_face.cache import TitansCache
from titans_seq.domains.language.hugging_face.config import TitansConfig
from titans_seq.domains.language.hugging_face.export import export_model, make_tokenizer
from titans_seq.domains.language.hugging_face.model import TitansForCausalLM

transformers.AutoConfig.register(TitansConfig.model_type, TitansConfig, exist_ok=True)
transformers.AutoModelForCausalLM.register(TitansConfig, TitansForCausalLM, exist_ok=True)

__all__ = ["TitansCache", "TitansConfig", "TitansForCausalLM", "export_model", "make_tokenizer"]
