"""The scikit-learn style language model. Axes: T tokens."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.utils.data import IterableDataset

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.language.evaluation import stream_losses
from titans_seq.domains.language.generation import Continuation, Writing, check_stops
from titans_seq.domains.language.lines import score_lines
from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
from titans_seq.domains.language.sampling import Sampling
from titans_seq.domains.language.segments import (
    SHORTEST,
    ConsecutiveSegments,
    EvenSegments,
    GrowingSegments,
    NextTokenLoss,
    Segments,
    loader,
)
from titans_seq.domains.language.surprise import trace_surprise
from titans_seq.domains.language.text import Text, pieces, read_text
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

RESTART = 1 / 16
"""Chance per batch that a row that reads on goes elsewhere and begins anew: it reads 16 segments on average."""


LEAST, PARTS = 16, 16
"""A short text is cut into this many segments, of this many tokens at the least."""


class TitansLM(
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

    Texts are str, files (`pathlib.Path`, UTF-8), or str in pieces (any iterable). The last part of the text that `fit`
    sees validates training.

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

    vocabulary_: Vocabulary
    network_: LanguageNetwork

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

    def fit(self, text: Text, y: None = None, on_epoch: Callable[[Self, bool], object] | None = None) -> Self:
        """Learn from a text.

        Args:
            on_epoch: called after each epoch with this model, fitted as far as it is, and whether the epoch was the
                best so far.

        Raises:
            DataError: the text or a parameter cannot be used; the message says why.
            TrainingError: the loss was not finite before any epoch ended; later, that is a warning and the best
                epoch before is kept.
            KeyboardInterrupt: after Ctrl-C; the model is then fitted with the best weights so far, if there are any.
        """
        backbone = self.check()
        text = read_text(text)
        self.check_text(text)
        goes_on = self.warm_start and hasattr(self, "network_")
        before = dict(self.network_.state_dict()) if goes_on else {}
        vocabulary = self.vocabulary_ if goes_on else learn_vocabulary(self.vocabulary, text, self.vocabulary_size)
        tokens = torch.cat([*vocabulary.encode_pieces([text])])
        length = self._segment(len(tokens) - 1)
        tokens, held_back = self._split(tokens, length)
        config = LanguageConfig(vocabulary=vocabulary.size, backbone=backbone)
        with temporary_seed(self.random_state):
            network = LanguageNetwork(config)
        copy_weights(network, before)
        size = self.batch_size * min(length, SHORTEST)
        rows, rest = max(1, size // length), (self.epoch_steps, self.random_state)
        if self.carry:
            segments: IterableDataset[Segments] = ConsecutiveSegments(tokens, length, rows, *rest, RESTART)
        else:
            segments = GrowingSegments(tokens, length, size, *rest)
        validation = EvenSegments(held_back, length, 4 * rows, self.carry)
        self.train_network(
            network, NextTokenLoss(), loader(segments), loader(validation), on_epoch, vocabulary_=vocabulary
        )
        return self

    def score(self, text: Text, y: None = None) -> float:
        """Return minus the `bits_per_byte` of a text: higher is better, as scikit-learn's searches assume."""
        return -self.bits_per_byte(text)

    def bits_per_byte(self, text: Text) -> float:
        """Return the bits per byte of a text, read as one stream: every byte counts, each given all before it.

        Lower is better.

        Memory does not grow with the text, if it comes as a file or in pieces.

        Raises:
            DataError: the text is empty, unreadable, or has symbols that the vocabulary lacks.
        """
        check_is_fitted(self, "network_")
        nats, read = 0.0, 0

        def counted() -> Iterator[str]:
            nonlocal read
            for piece in pieces(text):
                read += len(utf8(piece))
                yield piece

        for losses in stream_losses(self.network_, self.vocabulary_.encode_pieces(counted())):
            nats += float(losses.double().sum())
        return nats / math.log(2) / read

    def score_lines(self, text: Text) -> Iterator[dict[str, Any]]:
        """Yield each line of a text, read as one stream: its `line` (from 1), `bytes`, `bits_per_byte` and `text`.

        The line break belongs to its line. Errors as `bits_per_byte`.
        """
        check_is_fitted(self, "network_")
        return score_lines(self.network_, self.vocabulary_, pieces(text))

    def surprise(self, text: Text) -> pd.DataFrame:
        """Return how unexpected each token of a text is, read as one stream; what is foreign stands out.

        Returns:
            a row per token (byte, or character), with columns
            - bits: -log2 of the probability that the model gave it; high all along a foreign passage.
            - memory: norm of the memory's momentary surprise, mean of all layers and heads; NaN without a memory. It
            says how hard a token is written, which is most where one symbol repeats, not where the text is foreign.

        Raises:
            DataError: as `score`.
        """
        check_is_fitted(self, "network_")
        losses, norms = trace_surprise(self.network_, self.vocabulary_.encode_pieces(pieces(text)))
        return pd.DataFrame({"bits": losses / math.log(2), "memory": norms})

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        max_new_tokens: int = 200,
        temperature: float = 0.8,
        *,
        stop: str | Sequence[str] | None = None,
        **sampling: Any,
    ) -> Any:
        """Return what follows a prompt, without the prompt: `stream`, collected.

        Args:
            prompt: one, or a list of them, of different lengths, that are read side by side.
            max_new_tokens: see `stream`, as the next ones.
            temperature: of the draws.
            stop: strings that end a text.
            sampling: further fields of `Sampling`.

        Returns:
            a str; of a list of prompts a list of them, each as if it had been alone.
        """
        if isinstance(prompt, str) or not isinstance(prompt, Iterable):
            return "".join(self.stream(prompt, max_new_tokens, temperature, stop=stop, **sampling))
        check_whole(1, max_new_tokens=max_new_tokens)
        if not (prompts := [*prompt]):
            return []
        rows, writings = self._begin(prompts, temperature, stop, sampling)
        texts = [""] * len(writings)
        for _ in range(max_new_tokens):
            if not rows.rows:
                break
            for row, token in rows.draw().items():
                texts[row] += writings[row].push(token)
            rows.drop({row for row in rows.rows if writings[row].ended})
        return [text + writing.finish() for text, writing in zip(texts, writings, strict=True)]

    def stream(
        self,
        prompt: str = "",
        max_new_tokens: int | None = None,
        temperature: float = 0.8,
        *,
        stop: str | Sequence[str] | None = None,
        **sampling: Any,
    ) -> Iterator[str]:
        """Yield what follows a prompt, character by character, in constant time and memory each; the state is carried.

        Args:
            prompt: of any length; "" begins a document.
            max_new_tokens: tokens at the most; None: on and on, until the document ends.
            temperature: see `Sampling`.
            stop: a string, or several, before the first of which the text ends.
            sampling: further fields of `Sampling`: top_k, top_p, min_p, repetition_penalty, seed.

        Raises:
            DataError: an argument is out of range, or the prompt has symbols that the vocabulary lacks; at once, not
                on the first step.
        """
        if max_new_tokens is not None:
            check_whole(1, max_new_tokens=max_new_tokens)
        rows, (writing,) = self._begin([prompt], temperature, stop, sampling)

        def written() -> Iterator[str]:
            for _ in count() if max_new_tokens is None else range(max_new_tokens):
                if piece := writing.push(rows.draw()[0]):
                    yield piece
                if writing.ended:
                    return
            if rest := writing.finish():
                yield rest

        return written()

    def _begin(
        self, prompts: list[str], temperature: float, stop: Any, sampling: dict[str, Any]
    ) -> tuple[Continuation, list[Writing]]:
        check_is_fitted(self, "network_")
        for prompt in prompts:
            if not isinstance(prompt, str):
                raise DataError(f"the prompt must be a str, not {type(prompt).__name__}")
        end = torch.tensor([self.vocabulary_.end], dtype=torch.int16)
        tokens = [self.vocabulary_.encode(prompt) if prompt else end for prompt in prompts]
        rows = Continuation(self.network_, tokens, Sampling(temperature=temperature, **sampling))
        stops = check_stops(stop)
        return rows, [Writing(self.vocabulary_, stops) for _ in prompts]

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
