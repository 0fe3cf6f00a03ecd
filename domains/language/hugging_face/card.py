"""The model card that stands beside a saved model."""

from titans_seq.domains.language.hugging_face.config import TitansConfig

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


def model_card(config: TitansConfig, parameters: int) -> str:
    """Return the text of a model card, as far as the configuration knows."""
    vocabulary, backbone = config.vocabulary(), config.language_model().check()
    losses = [loss for loss in config.training["validation_loss"] if loss is not None] if config.training else []
    return CARD.format(
        name=config.name_or_path or "Titans",
        variant=backbone.variant,
        parameters=parameters,
        layers=backbone.layers,
        dim=backbone.dim,
        vocabulary=f"{config.vocab_size} tokens" + (f" ({vocabulary.kind})" if vocabulary else ""),
        loss=f"{min(losses):.3f}" if losses else "not known",
    )
