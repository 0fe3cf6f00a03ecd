"""The configuration of a language model as `transformers` stores it, and as `TitansLM.load` reads it."""

from dataclasses import fields
from typing import Any, ClassVar, Self

from transformers import PreTrainedConfig

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.language.language_model import TitansLM
from titans_seq.domains.language.network import LanguageConfig
from titans_seq.domains.language.vocabularies import StoredVocabulary, restore_vocabulary
from titans_seq.domains.language.vocabulary import BYTES, Vocabulary
from titans_seq.errors import DataError
from titans_seq.saving import make_header
from titans_seq.stored import read_section
from titans_seq.training.history import StoredHistory

UNTRAINED: dict[str, Any] = {"train_loss": [], "validation_loss": [], "seconds": 0.0}


class TitansConfig(PreTrainedConfig):  # type: ignore[misc]
    """Sizes of a `TitansForCausalLM`: parameters of `TitansLM` by their own names, and the number of tokens.

        TitansConfig(variant="mag", dim=128, layers=4)  # bytes
        TitansConfig(dim=256, layers=8, vocab_size=32_000, bos_token_id=1, eos_token_id=2)  # tokens of your tokenizer

    With one token more than the vocabulary of a `TitansLM` has, that is, with `vocab_size` left alone, the saved folder
    is one that `TitansLM.load` reads too.

    Raises:
        ValueError: a value is out of range.
    """

    model_type: ClassVar[str] = "titans"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    vocab_size: int = BYTES + 1
    bos_token_id: int | None = BYTES
    eos_token_id: int | list[int] | None = BYTES
    pad_token_id: int | None = BYTES
    tie_word_embeddings: bool = True
    use_cache: bool = True
    parameters: dict[str, Any] | None = None
    """Of `TitansLM`; those that are not there have their defaults."""
    fitted: dict[str, Any] | None = None
    """What its vocabulary learned."""
    training: dict[str, Any] | None = None
    """Its history."""

    def __post_init__(self, **others: Any) -> None:
        for name in make_header(""):
            others.pop(name, None)
        own = {name: others.pop(name) for name in TitansLM.parameter_docs if name in others}
        self.parameters = {**(self.parameters or {}), **own}
        self.fitted = self.fitted or {}
        self.training = self.training or UNTRAINED
        super().__post_init__(**others)
        try:
            self.language_model().check()
        except (DataError, TypeError) as error:
            raise ValueError(str(error)) from error

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Do nothing: a saved folder imports the package, and holds no copy of it."""

    @classmethod
    def from_backbone(cls, backbone: BackboneConfig, **options: Any) -> Self:
        """Return the configuration around a backbone, such as `titans_seq.backbone.presets.preset` returns."""
        known = [f.name for f in fields(backbone) if f.name in TitansLM.parameter_docs]
        return cls(parameters={name: getattr(backbone, name) for name in known}, **options)

    def language_model(self) -> TitansLM:
        """Return the estimator with these parameters, not fitted."""
        return TitansLM(**(self.parameters or {}))

    def network_config(self) -> LanguageConfig:
        """Return the sizes of the network."""
        return LanguageConfig(vocabulary=self.vocab_size, backbone=self.language_model().check())

    def vocabulary(self) -> Vocabulary | None:
        """Return the vocabulary of a `TitansLM`; None if the tokens are those of another tokenizer."""
        try:
            stored = read_section(StoredVocabulary, {"fitted": self.fitted}, "fitted")
            found = restore_vocabulary(self.language_model().vocabulary, stored)
        except ValueError:
            return None
        return found if found.size == self.vocab_size else None

    @property
    def hidden_size(self) -> int:
        """Width."""
        return int(self.language_model().check().dim)

    @property
    def num_hidden_layers(self) -> int:
        """Blocks."""
        return int(self.language_model().check().layers)

    @property
    def num_attention_heads(self) -> int:
        """Heads of each mixer."""
        return int(self.language_model().check().heads)

    def to_dict(self) -> dict[str, Any]:
        """Return what config.json holds."""
        found = dict(super().to_dict())
        if self.vocabulary() is None:
            return found
        read_section(StoredHistory, found, "training")
        return make_header(TitansLM.__name__) | found
