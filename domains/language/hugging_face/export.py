"""From a fitted `TitansLM` to a model and a tokenizer of `transformers`, and the model card."""

from typing import Any

from transformers import PreTrainedTokenizerFast

from titans_seq.domains.language.byte_pairs import BytePairs
from titans_seq.domains.language.hugging_face.config import TitansConfig
from titans_seq.domains.language.hugging_face.model import TitansForCausalLM
from titans_seq.domains.language.language_model import TitansLM
from titans_seq.domains.language.vocabulary import Symbols, Vocabulary

END = "<|end|>"
"""Name of the token between documents."""

CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [titans, neural-memory, {variant}]
---

# {name}

A language model with a neural long-term memory that learns at test time (Titans, arXiv 2501.00663), form {variant}:
{parameters:,} parameters, {layers} blocks of width {dim}, {vocabulary}. Made with titans-seq.

```python
import titans_seq.domains.language.hugging_face  # makes "titans" known
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")
```

Validation loss, nats per token: {loss}. Training data, intended use and limits: not stated by who saved it.
"""


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


def model_card(model: TitansForCausalLM) -> str:
    """Return the text of a model card, as far as the model knows."""
    config, vocabulary = model.config, model.config.vocabulary()
    backbone = config.language_model().check()
    losses = [loss for loss in config.training["validation_loss"] if loss is not None]
    return CARD.format(
        name=config.name_or_path or "Titans",
        variant=backbone.variant,
        parameters=sum(p.numel() for p in model.parameters()),
        layers=backbone.layers,
        dim=backbone.dim,
        vocabulary=f"{config.vocab_size} tokens" + (f" ({vocabulary.kind})" if vocabulary else ""),
        loss=f"{min(losses):.3f}" if losses else "not known",
    )
