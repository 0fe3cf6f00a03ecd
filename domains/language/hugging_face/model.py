"""The language model as `transformers` calls it.

Axes: B batch, T tokens, D width, V vocabulary.
"""

import os
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from titans_seq.domains.language.evaluation import PIECE
from titans_seq.domains.language.hugging_face.cache import TitansCache
from titans_seq.domains.language.hugging_face.card import model_card
from titans_seq.domains.language.hugging_face.config import TitansConfig
from titans_seq.domains.language.network import LanguageNetwork

CODE_FILE = "modeling_titans.py"
CODE = '''"""What `trust_remote_code=True` runs: pip install 'titans-seq[transformers]'."""

from titans_seq.hf import TitansConfig, TitansForCausalLM  # noqa: F401
'''
"""Of a saved folder, beside the weights."""
AUTO_MAP = {"AutoConfig": "modeling_titans.TitansConfig", "AutoModelForCausalLM": "modeling_titans.TitansForCausalLM"}
"""Where that file says that classes are."""


class TitansForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A `LanguageNetwork` behind the interface of `transformers`; its logits are those of `TitansLM.network_`.

    A cache is a `TitansCache` of constant size. Padding may stand on either side, if `attention_mask` says where.
    """

    config_class = TitansConfig
    base_model_prefix = "network"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = False
    _is_stateful = True
    _no_split_modules: ClassVar[list[str]] = []

    def __init__(self, config: TitansConfig) -> None:
        super().__init__(config)
        self.network = LanguageNetwork(config.network_config())
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave weights as the network began."""

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding, which is the head too."""
        return self.network.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Set it."""
        assert isinstance(value, nn.Embedding)
        self.network.embedding = value

    def get_output_embeddings(self) -> None:
        """Return None: the embedding is used twice."""
        return

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: TitansCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Return logits (B, T, V), the loss if there are labels, and the cache behind the tokens if it is wanted.

        Args:
            input_ids: tokens (B, T).
            attention_mask: (B, T), or of all tokens since the stream began, of which the last T count; 0 at those that
                are to change nothing.
            past_key_values: what an earlier call returned; it is moved on.
            inputs_embeds: (B, T, D) instead of tokens.
            labels: (B, T); the loss at each is that of the logits before it; -100 does not count.
            use_cache: whether to return a cache; None: as the configuration says, when not in training.
            logits_to_keep: only the last so many logits, or those at these places; 0: all.
            output_hidden_states: whether to return (B, T, D) before, between and behind the blocks.
            return_dict: whether to return an output with names, not a tuple.

        Raises:
            ValueError: an input or the cache does not fit the model.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if past_key_values is not None and not isinstance(past_key_values, TitansCache):
            raise ValueError(f"past_key_values must be a TitansCache, not {type(past_key_values).__name__}")
        x = self.network.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        mask = None if attention_mask is None else self._mask(attention_mask, x.shape[1])
        shown = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        cached = (self.config.use_cache and not self.training) if use_cache is None else use_cache
        state = None if past_key_values is None else past_key_values.state
        hidden: list[list[Tensor]] = []
        pieces = [x] if labels is not None or self.training else x.split(PIECE, 1)
        for start, piece in zip(range(0, x.shape[1], PIECE), pieces, strict=False):
            real = None if mask is None else mask[:, start : start + piece.shape[1]]
            between: list[Tensor] | None = [] if shown else None
            h, state = self.network.backbone(piece, state, real, between)
            hidden.append([h] if between is None else [piece, *between, h])
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        whole = hidden[0] if len(hidden) == 1 else [torch.cat(parts, 1) for parts in zip(*hidden, strict=True)]
        logits = whole[-1][:, kept] @ self.network.embedding.weight.T
        loss = None if labels is None else self.loss_function(logits, labels, logits.shape[-1], **options)
        if cached or past_key_values is not None:
            past_key_values = TitansCache() if past_key_values is None else past_key_values
            past_key_values.state, past_key_values.seen = state, past_key_values.seen + x.shape[1]
        output = CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=past_key_values, hidden_states=tuple(whole) if shown else None
        )
        wanted = self.config.return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()

    @staticmethod
    def _mask(mask: Tensor, length: int) -> Tensor | None:
        if mask.ndim != 2 or mask.shape[1] < length:
            raise ValueError(f"attention_mask must be (B, T) of at least {length} tokens, not {tuple(mask.shape)}")
        real = mask[:, -length:].bool()
        return None if bool(real.all()) else real

    def save_pretrained(self, save_directory: str | os.PathLike[str], *arguments: Any, **options: Any) -> Any:
        """Write the model as `transformers` does, and a model card if the folder has none.

        A file beside it imports this package for a program that does not, if it trusts the folder's code.
        """
        self.config.auto_map = dict(AUTO_MAP)
        done = super().save_pretrained(save_directory, *arguments, **options)
        (Path(save_directory) / CODE_FILE).write_text(CODE, encoding="utf-8")
        card = Path(save_directory) / "README.md"
        if not card.exists():
            card.write_text(model_card(self.config, sum(p.numel() for p in self.parameters())), encoding="utf-8")
        return done

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Do nothing: a saved folder imports the package, and holds no copy of it."""
