"""The scikit-learn style language model. Axes: T tokens."""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.language.evaluation import PIECE, stream_losses
from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
from titans_seq.domains.language.sampling import Sampler, Sampling
from titans_seq.domains.language.segments import (
    ConsecutiveSegments,
    EvenSegments,
    NextTokenLoss,
    RandomSegments,
    loader,
)
from titans_seq.domains.language.surprise import traced
from titans_seq.domains.language.text import Text, pieces, read_text
from titans_seq.domains.language.vocabulary import Vocabulary, utf8
from titans_seq.errors import DataError
from titans_seq.saving import load_folder, restored, save_folder, unpacking
from titans_seq.training import History, TrainingConfig, seeded, train
from titans_seq.validation import check_whole

RESTART = 1 / 16
"""Chance per batch that a row that reads on goes elsewhere and begins anew: it reads 16 segments on average."""


class TitansLM(BaseEstimator):  # type: ignore[misc]
    """A language model whose memory lasts: it reads a text of any length from first to last byte in constant memory.

    Texts are str, files (`pathlib.Path`, UTF-8), or str in pieces (any iterable). The last part of the text that `fit`
    sees validates training.

    Args:
        variant: backbone, see `BackboneConfig.variant`.
        vocabulary: "bytes" reads any text; "symbols" knows the characters of the training text only.
        dim, layers, heads, window, persistent_tokens, mlp_expansion, dropout: see `BackboneConfig`.
        memory_depth, memory_expansion, chunk_size, momentum, forget, initial_step, conv_kernel: the memory, see
            `MemoryConfig`.
        context: tokens of a training segment.
        carry: train on segments that follow one another and carry the memory across (truncated backpropagation
            through time); off: segments from anywhere, each with a memory that begins anew, which is measured to
            learn better (README).
        batch_size: segments of a step.
        epoch_steps: steps from one look at the validation text to the next.
        max_epochs, patience, learning_rate, weight_decay, max_minutes: see `TrainingConfig`.
        validation_fraction: share of the text, at its end, that validates.
        random_state: seed; the same seed on the same machine gives the same numbers, bit for bit.
        verbose: show a progress bar.

    Attributes:
        vocabulary_: the tokens.
        network_: the trained network.
        history_: losses per epoch, nats per token, and seconds.

    Example:
        >>> model = TitansLM(dim=16, layers=1, heads=2, context=16, epoch_steps=2, max_epochs=1)
        >>> model.fit("to be or not to be, that is the question. " * 20).score("to be") > 0
        True
        >>> model.generate("to be", max_new_tokens=0)
        Traceback (most recent call last):
        titans_seq.errors.DataError: max_new_tokens must be a whole number of at least 1, not 0
    """

    vocabulary_: Vocabulary
    network_: LanguageNetwork
    history_: History

    def __init__(
        self,
        variant: str = "mag",
        *,
        vocabulary: str = "bytes",
        dim: int = 128,
        layers: int = 4,
        heads: int = 4,
        window: int = 64,
        persistent_tokens: int = 0,
        mlp_expansion: float = 2,
        dropout: float = 0.0,
        memory_depth: int = 2,
        memory_expansion: float = 2,
        chunk_size: int = 16,
        momentum: bool = True,
        forget: bool = True,
        initial_step: float | None = None,
        conv_kernel: int = 4,
        context: int = 64,
        carry: bool = False,
        batch_size: int = 12,
        epoch_steps: int = 250,
        max_epochs: int = 8,
        patience: int = 3,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.01,
        max_minutes: float | None = None,
        validation_fraction: float = 0.02,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.variant = variant
        self.vocabulary = vocabulary
        self.dim = dim
        self.layers = layers
        self.heads = heads
        self.window = window
        self.persistent_tokens = persistent_tokens
        self.mlp_expansion = mlp_expansion
        self.dropout = dropout
        self.memory_depth = memory_depth
        self.memory_expansion = memory_expansion
        self.chunk_size = chunk_size
        self.momentum = momentum
        self.forget = forget
        self.initial_step = initial_step
        self.conv_kernel = conv_kernel
        self.context = context
        self.carry = carry
        self.batch_size = batch_size
        self.epoch_steps = epoch_steps
        self.max_epochs = max_epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_minutes = max_minutes
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

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
        backbone, training = self.check()
        text = read_text(text)
        self.check_text(text)
        vocabulary = Vocabulary.of(self.vocabulary, text)  # type: ignore[arg-type]
        tokens, held_back = self._split(_framed(vocabulary, text))
        with seeded(self.random_state):
            network = LanguageNetwork(LanguageConfig(vocabulary=vocabulary.size, backbone=backbone))

        def remember(history: History) -> None:
            self.vocabulary_, self.network_, self.history_ = vocabulary, network, history

        def after_epoch(history: History) -> None:
            if on_epoch is not None and history.best is not None:
                remember(history)
                on_epoch(self, history.best_epoch == len(history.validation_loss) - 1)

        size = (self.context, self.batch_size, self.epoch_steps, self.random_state)
        segments = ConsecutiveSegments(tokens, *size, RESTART) if self.carry else RandomSegments(tokens, *size)
        validation = EvenSegments(held_back, self.context, 4 * self.batch_size, self.carry)
        history = History()
        try:
            train(network, NextTokenLoss(), loader(segments), loader(validation), training, after_epoch, history)
        finally:
            if history.best is not None:
                remember(history)
        return self

    def score(self, text: Text, y: None = None) -> float:
        """Bits per byte of a text (less is better), read as one stream: every byte counts, each given all before it.

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

        for losses in stream_losses(self.network_, self._tokens(counted())):
            nats += float(losses.double().sum())
        return nats / math.log(2) / read

    def score_lines(self, text: Text) -> Iterator[dict[str, Any]]:
        """Each line of a text, read as one stream: its `line` (from 1), `bytes`, `bits_per_byte` and `text`.

        The line break belongs to its line. Errors as `score`.
        """
        check_is_fitted(self, "network_")
        lines = list[str]()

        def kept() -> Iterator[str]:
            for line in _lines(pieces(text)):
                lines.append(line)
                yield line

        losses = stream_losses(self.network_, self._tokens(kept()))
        read, number = torch.zeros(0), 0
        for part in losses:
            read = torch.cat([read, part])
            while lines and len(read) >= (size := len(self.vocabulary_.encode(lines[0]))):
                line, number = lines.pop(0), number + 1
                bits, count = float(read[:size].double().sum()) / math.log(2), len(utf8(line))
                yield {"line": number, "bytes": count, "bits_per_byte": bits / count, "text": line.rstrip("\n")}
                read = read[size:]

    def surprise(self, text: Text) -> pd.DataFrame:
        """How unexpected each token of a text is, read as one stream; what is foreign stands out.

        Returns:
            a row per token (byte, or character), with columns

            - bits: -log2 of the probability that the model gave it; high all along a foreign passage.
            - memory: norm of the memory's momentary surprise, mean of all layers and heads; NaN without a memory. It
              says how hard a token is written, which is most where one symbol repeats, not where the text is foreign.

        Raises:
            DataError: as `score`.
        """
        check_is_fitted(self, "network_")
        losses, norms = traced(self.network_, self._tokens(pieces(text)))
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
        """What follows a prompt, without the prompt: `stream`, collected."""
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
        """What follows a prompt, character by character, in constant time and memory each; the state is carried.

        Args:
            prompt: of any length; "" begins a document.
            max_new_tokens: tokens (bytes, or characters) at the most; None: on and on, until the document ends.
            temperature, top_k, top_p, seed: see `Sampling`.

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
        return self.vocabulary_.decoded(self._drawn(first, max_new_tokens, sampler))

    def _drawn(self, tokens: Tensor, count: int | None, sampler: Sampler) -> Iterator[int]:
        state, drawn = None, 0
        while count is None or drawn < count:
            for piece in tokens.split(PIECE):
                with torch.inference_mode():
                    logits, state = self.network_(piece.unsqueeze(0), state)
            token = sampler(logits[0, -1])
            yield token
            drawn, tokens = drawn + 1, torch.tensor([token])

    def _tokens(self, parts: Iterable[str]) -> Iterator[Tensor]:
        """The tokens of a text in pieces, behind an `end`."""
        yield torch.tensor([self.vocabulary_.end], dtype=torch.int16)
        for part in parts:
            yield self.vocabulary_.encode(part)

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Training and validation tokens, a context and its last successor each at the least."""
        least = self.context + 1
        held_back = min(max(int(self.validation_fraction * len(tokens)), least), len(tokens) - least)
        return tokens[:-held_back], tokens[-held_back:]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write config.json and model.safetensors; an earlier model in the folder is replaced."""
        check_is_fitted(self, "network_")
        config = {
            "parameters": self.get_params(),
            "symbols": self.vocabulary_.symbols,
            "training": self.history_.stored(),
        }
        return save_folder(folder, type(self).__name__, config, self.network_.state_dict())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote; nothing in the folder is executed.

        Raises:
            ModelError: there is no such model, or it is damaged.
        """
        config, weights = load_folder(folder, cls.__name__)
        with unpacking(folder):
            model = cls(**config["parameters"])
            backbone, _ = model.check()
            vocabulary = _stored(config["symbols"], model.vocabulary)
            shape = LanguageConfig(vocabulary=vocabulary.size, backbone=backbone)
            network = restored(lambda: LanguageNetwork(shape), weights)
            history = History.of(config["training"])
        model.vocabulary_, model.network_, model.history_ = vocabulary, network, history
        return model

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

    def check(self) -> tuple[BackboneConfig, TrainingConfig]:
        """The backbone and the training that the parameters describe.

        Raises:
            DataError: a parameter cannot be used.
        """
        check_whole(1, context=self.context, batch_size=self.batch_size, epoch_steps=self.epoch_steps)
        check_whole(0, random_state=self.random_state)
        if not isinstance(self.validation_fraction, int | float) or not 0 < self.validation_fraction < 1:
            raise DataError(f"validation_fraction must lie between 0 and 1, not {self.validation_fraction!r}")
        if self.window is None:
            raise DataError("window must be a whole number: a text may be longer than any cache")
        if not 0 <= self.weight_decay < math.inf:
            raise DataError(f"weight_decay must be at least 0, not {self.weight_decay!r}")
        try:
            backbone = BackboneConfig(
                variant=self.variant,  # type: ignore[arg-type]
                dim=self.dim,
                layers=self.layers,
                heads=self.heads,
                window=self.window,
                persistent_tokens=self.persistent_tokens,
                mlp_expansion=self.mlp_expansion,
                dropout=self.dropout,
                memory_depth=self.memory_depth,
                memory_expansion=self.memory_expansion,
                chunk_size=self.chunk_size,
                momentum=self.momentum,
                forget=self.forget,
                initial_step=self.initial_step,
                conv_kernel=self.conv_kernel,
            )
            training = TrainingConfig(
                max_epochs=self.max_epochs,
                patience=self.patience,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                max_minutes=self.max_minutes,
                seed=int(self.random_state),
                progress=self.verbose,
            )
        except (TypeError, ValueError) as error:
            raise DataError(str(error)) from error
        return backbone, training


def _framed(vocabulary: Vocabulary, text: str) -> Tensor:
    """`end`, and the tokens of the text."""
    return torch.cat([torch.tensor([vocabulary.end], dtype=torch.int16), vocabulary.encode(text)])


def _lines(parts: Iterable[str]) -> Iterator[str]:
    """The lines of a text in pieces, each with its break."""
    rest = ""
    for part in parts:
        *whole, rest = (rest + part).split("\n")
        yield from (f"{line}\n" for line in whole)
    if rest:
        yield rest


def _stored(symbols: Any, kind: str) -> Vocabulary:
    if (symbols is None) != (kind == "bytes") or not isinstance(symbols, str | None):
        raise ValueError("its symbols do not fit its vocabulary")
    if symbols is not None and list(symbols) != sorted(set(symbols)):
        raise ValueError("its symbols are not in order")
    return Vocabulary(symbols)
