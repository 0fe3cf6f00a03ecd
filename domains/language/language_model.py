"""The scikit-learn style language model. Axes: T tokens."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor
from torch.utils.data import DataLoader

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.language.document_segments import document_segments
from titans_seq.domains.language.documents import Documents
from titans_seq.domains.language.fitted import FittedLanguageModel
from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
from titans_seq.domains.language.segments import NextTokenLoss, Segments, training_segments
from titans_seq.domains.language.text import Text, read_text
from titans_seq.domains.language.vocabularies import (
    StoredVocabulary,
    learn_vocabulary,
    restore_vocabulary,
    store_vocabulary,
)
from titans_seq.domains.language.vocabulary import BYTES, MOST_TOKENS, Vocabulary, utf8
from titans_seq.errors import DataError
from titans_seq.estimator import TitansEstimator
from titans_seq.training import TrainingConfig, temporary_seed
from titans_seq.training.weights import copy_weights
from titans_seq.validation import check_whole

LEAST, PARTS = 16, 16
"""A short text is cut into this many segments, of this many tokens at the least."""


class TitansLM(
    FittedLanguageModel,
    TitansEstimator,
    configs=(BackboneConfig, TrainingConfig),
    derived=("checkpoint_tokens",),
    defaults={
        "variant": "mag",
        "dim": 128,
        "layers": 4,
        "chunk_size": 64,
        "batch_size": 32,
        "optimizer": "muon",
        "learning_rate": 3e-3,
        "max_epochs": 8,
        "validation_fraction": 0.02,
    },
):
    """A language model whose memory lasts: it reads a text of any length from first to last byte in constant memory.

    Texts are str, files (`pathlib.Path`, UTF-8), or str in pieces (any iterable); many texts that have nothing to do
    with each other are `Documents`. The last part of the text that `fit` sees validates training, or some documents.

    Attributes:
        vocabulary_: the tokens.
        network_: the trained network.
        history_: losses per epoch, nats per token, and seconds.

    Examples:
        >>> model = TitansLM(dim=16, layers=1, heads=2, context=16, epoch_steps=2, max_epochs=1)
        >>> model = model.fit("to be or not to be, that is the question. " * 20)
        >>> 0 < model.bits_per_byte("to be") == -model.score("to be")
        True
        >>> model.generate("to be", max_new_tokens=0)
        Traceback (most recent call last):
        titans_seq.errors.DataError: max_new_tokens must be a whole number of at least 1, not 0
    """

    Fitted = StoredVocabulary

    vocabulary: str = "bytes"
    """"bytes" reads any text; "bpe" too, with tokens of several bytes that are learned from the training text (extra
    `bpe`); "symbols" knows the characters of the training text only."""

    vocabulary_size: int = 2048
    """Different tokens at the most, of "bpe"; the other kinds need what they need."""

    context: int = 1024
    """Tokens of the longest training segments; a short text has shorter ones. Training begins with 64, of which a step
    takes `batch_size`, and doubles: longer ones are fewer, a step has as many tokens."""

    carry: bool = False
    """Train on segments that follow one another and carry the memory across (truncated backpropagation through time);
    off: segments from anywhere, each with a memory that begins anew, which was measured to learn better."""

    epoch_steps: int = 250
    """Training steps of an epoch, which ends with a look at the validation text."""

    warm_start: bool = False
    """Go on from the weights and the vocabulary of the `fit` before, with a training of its own length."""

    if TYPE_CHECKING:
        window: int | None

    def fit(
        self, text: Text | Documents, y: None = None, on_epoch: Callable[[Self, bool], object] | None = None
    ) -> Self:
        """Learn from a text, or from documents.

        Args:
            text: of documents each is read with a memory that begins anew, and `generate` then learns how one ends.
            on_epoch: called after each epoch with this model, fitted as far as it is, and whether the epoch was the
                best so far.

        Raises:
            DataError: the text or a parameter cannot be used; the message says why.
            TrainingError: the loss was not finite before any epoch ended; later, that is a warning and the best
                epoch before is kept.
            KeyboardInterrupt: after Ctrl-C; the model is then fitted with the best weights so far, if there are any.
        """
        backbone = self.check()
        if isinstance(text, Documents) and self.carry:
            raise DataError("with documents the memory begins anew in each: carry must be off")
        plain = "".join(text.texts) if isinstance(text, Documents) else read_text(text)
        self.check_text(plain)
        goes_on = self.warm_start and hasattr(self, "network_")
        before = dict(self.network_.state_dict()) if goes_on else {}
        vocabulary = self.vocabulary_ if goes_on else learn_vocabulary(self.vocabulary, plain, self.vocabulary_size)
        segments, validation = self._segments(text if isinstance(text, Documents) else plain, vocabulary)
        config = LanguageConfig(vocabulary=vocabulary.size, backbone=backbone)
        with temporary_seed(self.random_state):
            network = LanguageNetwork(config)
        copy_weights(network, before)
        self.train_network(network, NextTokenLoss(), segments, validation, on_epoch, vocabulary_=vocabulary)
        return self

    def _segments(
        self, text: str | Documents, vocabulary: Vocabulary
    ) -> tuple[DataLoader[Segments], DataLoader[Segments]]:
        """Return the batches of an epoch, and those that validate."""
        rest = (self.batch_size, self.epoch_steps, self.random_state)
        if isinstance(text, Documents):
            parts = text.split(self.validation_fraction, self.random_state)
            rows, back = ([vocabulary.encode_document(document) for document in part.texts] for part in parts)
            length = min(self._segment(sum(map(len, rows))), max(map(len, rows)) - 1)
            return document_segments(rows, back, length, *rest)
        tokens = vocabulary.encode_begun(text)
        length = self._segment(len(tokens) - 1)
        tokens, held_back = self._split(tokens, length)
        return training_segments(tokens, held_back, length, *rest, self.carry)

    def _segment(self, count: int) -> int:
        """Return the length of the longest segments of a text of `count` tokens."""
        return min(self.context, max(LEAST, count // PARTS))

    def _split(self, tokens: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return training and validation tokens, a segment and its last successor each at the least."""
        least = length + 1
        if len(tokens) < 2 * least:
            needed = f"to train and validate at least {2 * least - 1} are needed"
            raise DataError(f"the text has {len(tokens) - 1} tokens, {needed}")
        held_back = min(max(int(self.validation_fraction * len(tokens)), least), len(tokens) - least)
        return tokens[:-held_back], tokens[-held_back:]

    def description(self) -> dict[str, Any]:
        """Return what lets `transformers` open the folder: see `titans_seq.domains.language.hugging_face`."""
        end = self.vocabulary_.end
        tokens = {"vocab_size": end + 1, "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
        return {"model_type": "titans", "architectures": ["TitansForCausalLM"], **tokens}

    def fitted_config(self) -> dict[str, Any]:
        """Return the symbols of the vocabulary."""
        return store_vocabulary(self.vocabulary_)

    def restore(self, fitted: StoredVocabulary, tensors: dict[str, Tensor]) -> Callable[[], LanguageNetwork]:
        """Set the vocabulary; see `TitansEstimator.restore`."""
        backbone = self.check()
        self.vocabulary_ = restore_vocabulary(self.vocabulary, fitted)
        config = LanguageConfig(vocabulary=self.vocabulary_.size, backbone=backbone)
        return lambda: LanguageNetwork(config)

    def check_text(self, text: str) -> None:
        """Raise DataError unless `fit` can use the text."""
        self.check()
        if not text:
            raise DataError("the text is empty")
        unit = "symbols" if self.vocabulary == "symbols" else "bytes"
        have, need = len(text if unit == "symbols" else utf8(text)), 2 * min(self.context, LEAST) + 1
        if have < need:
            raise DataError(f"the text has {have} {unit}, to train and validate at least {need} are needed")

    def check(self) -> BackboneConfig:
        """Return the backbone that the parameters describe.

        Raises:
            DataError: a parameter cannot be used.
        """
        check_whole(1, context=self.context, epoch_steps=self.epoch_steps)
        check_whole(BYTES + 2, vocabulary_size=self.vocabulary_size)
        if self.vocabulary_size > MOST_TOKENS + 1:
            raise DataError(f"vocabulary_size must be at most {MOST_TOKENS + 1}, not {self.vocabulary_size}")
        if self.window is None:
            raise DataError("window must be a whole number: a text may be longer than any cache")
        self.configure(TrainingConfig)
        return self.configure(BackboneConfig)
