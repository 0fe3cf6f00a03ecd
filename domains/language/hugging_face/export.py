"""From a fitted `TitansLM` to a model and a tokenizer of `transformers`."""

from typing import Any

from transformers import PreTrainedTokenizerFast

from titans_seq.domains.language.byte_pairs import BytePairs
from titans_seq.domains.language.hugging_face.config import TitansConfig
from titans_seq.domains.language.hugging_face.model import TitansForCausalLM
from titans_seq.domains.language.language_model import TitansLM
from titans_seq.domains.language.vocabulary import Symbols, Vocabulary

END = "<|end|>"
"""Name of the token between documents."""


def export_model(model: TitansLM) -> TitansForCausalLM:
    """Return a fitted model for `transformers`; it shares the weights."""
    config = TitansConfig(**model.to_config())
    exported = TitansForCausalLM(config)
    exported.network = model.network_
    exported.eval()
    return exported


def make_tokenizer(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    """Return a tokenizer that gives the tokens of a vocabulary; a text is not begun by `end` of itself."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    if isinstance(vocabulary, Symbols):
        known = {symbol: place for place, symbol in enumerate(vocabulary.symbols)}
        tokenizer: Any = Tokenizer(models.WordLevel(known))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
    else:
        pairs = vocabulary if isinstance(vocabulary, BytePairs) else BytePairs(())
        tokenizer = Tokenizer.from_str(pairs.tokenizer.to_str())
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END, clean_up_tokenization_spaces=False
    )
