"""The scikit-learn style language model. Axes: T tokens."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.language.evaluation import PIECE, stream_losses
from titans_seq.domains.language.lines import score_lines
from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
from titans_seq.domains.language.sampling import Sampler, Sampling
from titans_seq.domains.language.segments import (
    ConsecutiveSegments,
    EvenSegments,
    NextTokenLoss,
    RandomSegments,
    loader,
)
from titans_seq.domains.language.surprise import trace_surprise
from titans_seq.domains.language.text import Text, pieces, read_text
from titans_seq.domains.language.vocabulary import Vocabulary, utf8
from titans_seq.errors import DataError
from titans_seq.estimator import TitansEstimator
from titans_seq.stored import Stored
from titans_seq.training import TrainingConfig, temporary_seed
from titans_seq.validation import check_whole

RESTART = 1 / 16
"""Chance per batch that a row that reads on goes elsewhere and begins anew: it reads 16 segments on average."""


class FittedLM(Stored):
    """What `TitansLM.fit` learned beside the network, in a saved model."""

    symbols: str | None


class TitansLM(
    TitansEstimator,
    configs=(BackboneConfig, TrainingConfig),
    derived=("checkpoint_tokens",),
    defaults={
        "variant": "mag",
        "dim": 128,
        "layers": 4,
        "chunk_size": 16,
        "batch_size": 12,
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

    Fitted = FittedLM

    vocabulary_: Vocabulary
    network_: LanguageNetwork

    vocabulary: str = "bytes"
    """"bytes" reads any text; "symbols" knows the characters of the training text only."""

    context: int = 64
    """Tokens of a training segment."""

    carry: bool = False
    """Train on segments that follow one another and carry the memory across (truncated backpropagation through time);
    off: segments from anywhere, each with a memory that begins anew, which was measured to learn better."""

    epoch_steps: int = 250
    """Training steps of an epoch, which ends with a look at the validation text."""

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
        vocabulary = Vocabulary.from_text(self.vocabulary, text)  # type: ignore[arg-type]
        tokens, held_back = self._split(torch.cat([*vocabulary.encode_pieces([text])]))
        with temporary_seed(self.random_state):
            network = LanguageNetwork(LanguageConfig(vocabulary=vocabulary.size, backbone=backbone))
        size = (self.context, self.batch_size, self.epoch_steps, self.random_state)
        segments = ConsecutiveSegments(tokens, *size, RESTART) if self.carry else RandomSegments(tokens, *size)
        validation = EvenSegments(held_back, self.context, 4 * self.batch_size, self.carry)
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
        prompt: str = "",
        max_new_tokens: int = 200,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> str:
        """Return what follows a prompt, without the prompt: `stream`, collected."""
        return "".join(self.stream(prompt, max_new_tokens, temperature, top_k, top_p, seed))

    def stream(
        self,
        prompt: str = "",
        max_new_tokens: int | None = None,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[str]:
        """Yield what follows a prompt, character by character, in constant time and memory each; the state is carried.

        Args:
            prompt: of any length; "" begins a document.
            max_new_tokens: tokens (bytes, or characters) at the most; None: on and on, until the document ends.
            temperature: see `Sampling`, as the next ones.
            top_k: only that many of the likeliest tokens; None: all.
            top_p: only the likeliest tokens that together reach this probability; None: all.
            seed: of the draws.

        Raises:
            DataError: an argument is out of range, or the prompt has symbols that the vocabulary lacks; at once, not
                on the first step.
        """
        check_is_fitted(self, "network_")
        if max_new_tokens is not None:
            check_whole(1, max_new_tokens=max_new_tokens)
        if not isinstance(prompt, str):
            raise DataError(f"the prompt must be a str, not {type(prompt).__name__}")
        sampler = Sampler(Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed))
        first = self.vocabulary_.encode(prompt) if prompt else torch.tensor([self.vocabulary_.end])
        return self.vocabulary_.decode_stream(self._draw(first, max_new_tokens, sampler))

    def _draw(self, tokens: Tensor, count: int | None, sampler: Sampler) -> Iterator[int]:
        state, drawn = None, 0
        while count is None or drawn < count:
            for piece in tokens.split(PIECE):
                with torch.inference_mode():
                    logits, state = self.network_(piece.unsqueeze(0), state)
            token = sampler(logits[0, -1])
            yield token
            drawn, tokens = drawn + 1, torch.tensor([token])

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return training and validation tokens, a context and its last successor each at the least."""
        least = self.context + 1
        held_back = min(max(int(self.validation_fraction * len(tokens)), least), len(tokens) - least)
        return tokens[:-held_back], tokens[-held_back:]

    def fitted_config(self) -> dict[str, Any]:
        """Return the symbols of the vocabulary."""
        return {"symbols": self.vocabulary_.symbols}

    def restore(self, fitted: FittedLM, tensors: dict[str, Tensor]) -> Callable[[], LanguageNetwork]:
        """Set the vocabulary; see `TitansEstimator.restore`."""
        backbone = self.check()
        self.vocabulary_ = Vocabulary.from_symbols(fitted.symbols, self.vocabulary)
        config = LanguageConfig(vocabulary=self.vocabulary_.size, backbone=backbone)
        return lambda: LanguageNetwork(config)

    def check_text(self, text: str) -> None:
        """Raise DataError unless `fit` can use the text."""
        self.check()
        if not text:
            raise DataError("the text is empty")
        have, need = len(utf8(text) if self.vocabulary == "bytes" else text), 2 * self.context + 1
        if have < need:
            raise DataError(
                f"the text has {have} {self.vocabulary}: a context of {self.context}, and another to validate, need "
                f"at least {need}"
            )

    def check(self) -> BackboneConfig:
        """Return the backbone that the parameters describe.

        Raises:
            DataError: a parameter cannot be used.
        """
        check_whole(1, context=self.context, epoch_steps=self.epoch_steps)
        if self.window is None:
            raise DataError("window must be a whole number: a text may be longer than any cache")
        self.configure(TrainingConfig)
        return self.configure(BackboneConfig)
