"""The scikit-learn classifier of DNA. Axes: N sequences, K classes."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.base import ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.genomics.alphabet import Ambiguous, Rows
from titans_seq.domains.genomics.choose import Reading, candidates, choose_reading, usual_pool
from titans_seq.domains.genomics.encoder import encode_sequences
from titans_seq.domains.genomics.fitting import (
    MAX_LETTERS,
    Examples,
    apply_network,
    check_lengths,
    classification_loss,
    predict_logits,
    training_loaders,
)
from titans_seq.domains.genomics.kmer_logits import KmerLogits
from titans_seq.domains.genomics.labels import StoredClasses, check_labels, classes_from_stored, classes_to_dict
from titans_seq.domains.genomics.mixers import split_variant
from titans_seq.domains.genomics.network import DNAConfig, DNAEnsemble, DNANetwork
from titans_seq.domains.genomics.parts import class_weights, known_examples, split_examples
from titans_seq.domains.genomics.pretrain import Pretrained, pretrain_network, take_weights
from titans_seq.errors import DataError, TitansSeqWarning
from titans_seq.estimator import TitansEstimator
from titans_seq.stored import Stored
from titans_seq.training import TrainingConfig, temporary_seed

Length = Annotated[int, Field(ge=1, le=MAX_LETTERS)]
MOST_NETWORKS = 100
"""Networks of an ensemble at the most."""
FEW = 20_000
"""Training sequences up to which there are more motifs, and more letters made unknown."""
MOTIFS, LETTER_DROPOUT = (256, 64), (0.25, 0.1)
"""Filters and share of letters, up to there and beyond."""


class FittedDNA(Stored):
    """What `TitansDNAClassifier.fit` learned beside the network, in a saved model."""

    classes: StoredClasses
    lengths: tuple[Length, Length, Length]
    reading: Reading
    networks: Annotated[int, Field(ge=1, le=MOST_NETWORKS)]


class TitansDNAClassifier(
    ClassifierMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    TitansEstimator,
    configs=(DNAConfig, BackboneConfig, TrainingConfig),
    derived=("mixer", "checkpoint_tokens"),
    defaults={
        "dim": 32,
        "layers": 1,
        "heads": 2,
        "chunk_size": 16,
        "window": 128,
        "learning_rate": 4e-3,
        "weight_decay": 0.05,
        "average": 0.99,
        "max_epochs": 16,
    },
):
    """Classify DNA sequences of any length: motifs, a Titans memory that reads them, one linear head.

    X is a list, array or column of str, bytes, Biopython Seq or SeqRecord, or what `SequenceEncoder` made of one.
    Letter case carries no meaning, U is T, N and the other IUPAC codes are one unknown letter. Sequences of different
    lengths are masked exactly: neither padding nor the other sequences of a batch change a result, and a sequence
    shorter than a motif is read as if nothing stood beside it. Up to 100,000 letters are read as one sequence; longer
    ones are refused, never cut.

    Attributes:
        classes_: the classes, sorted.
        history_: losses per epoch and seconds.
        network_: the trained network, or `DNAEnsemble`.
        lengths_: shortest, median and longest sequence of the training data, in letters.
        reading_: strand, pool and sections of the network: what was given, or what was found.

    Examples:
        >>> rich, poor = ["GCGC" * 5, "GGCC" * 6] * 10, ["ATAT" * 5, "TTAA" * 6] * 10
        >>> model = TitansDNAClassifier(dim=8, heads=1, motifs=8, max_epochs=8, batch_size=8)
        >>> model = model.fit(rich + poor, ["rich"] * 20 + ["poor"] * 20)
        >>> model.predict_proba(["GGCCGGCCGGCC", "ATTATTATTATT"]).shape
        (2, 2)
    """

    Fitted = FittedDNA

    classes_: NDArray[Any]
    network_: DNANetwork | DNAEnsemble
    lengths_: tuple[int, int, int]
    reading_: Reading
    pretrained_: Pretrained

    strand: Literal["auto", "both", "given"] = "auto"
    """"both" makes a sequence and its reverse complement the same; "given" is for sequences whose direction is known,
    as around a start of transcription; "auto" takes what validates better after a short training."""

    pool: int | None = None
    """Letters that become one token; None: 2, 4 or 8, found with `strand`."""

    sections: int | None = None
    """Places along a sequence whose features have a way to the answer of their own, for sequences that are aligned; 0:
    position carries no meaning; None: found with `strand`."""

    motifs: int | None = None
    """Filters of the first convolution; None: 256, or 64 where more than 20,000 sequences train."""

    letter_dropout: float | None = None
    """Share of letters made unknown in training; None: 0.25, or 0.1 where more than 20,000 sequences train."""

    variant: str = "lmm"
    """Backbone, see `BackboneConfig.variant`; "convolution" and "none" put a convolution, or nothing, in the place of
    the memory."""

    label_smoothing: float = 0.0
    """Share of each target that is spread over all classes in training."""

    class_weight: Any = None
    """None, "balanced", or class -> weight."""

    ensemble: int = 1
    """Networks, each with a seed of its own, whose logits are averaged; as many times slower."""

    warm_start: bool = False
    """Go on from the network that was fitted before, or from its parts that read sequences where the classes are
    others; strand, pool and sections stay."""

    ambiguous: Ambiguous = "unknown"
    """"unknown" maps N and the other IUPAC codes to one unknown letter, "error" refuses them."""

    def fit(
        self,
        X: Any,
        y: Any,
        validation: tuple[Any, Any] | None = None,
        on_epoch: Callable[[Self, bool], object] | None = None,
    ) -> Self:
        """Learn from labelled sequences.

        Args:
            validation: sequences and classes that decide when to stop; None takes a part of X.
            on_epoch: called after each epoch with this model, fitted as far as it is, and whether the epoch was the
                best so far.

        Raises:
            DataError: sequences, classes or a parameter cannot be used; the message says why.
            KeyboardInterrupt: after Ctrl-C; the model is then fitted with the best weights so far, if there are any.
        """
        rows = self._rows(X)
        labels = check_labels(y, len(rows))
        classes, numbers = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise DataError(f"at least 2 classes are needed, there is one class only: {classes.tolist()[0]!r}")
        self.check(len(classes))
        if validation is None:
            parts = split_examples(rows, numbers, classes, self.validation_fraction, int(self.random_state))
        else:
            others = self._rows(validation[0])
            parts = Examples(rows, numbers), known_examples(others, validation[1], classes)
        weights = class_weights(self.class_weight, classes, numbers)
        lengths = np.array([len(row) for row in rows])
        loss = classification_loss(weights, float(self.label_smoothing))
        before = self._before()
        hidden = self._letter_dropout(len(parts[0]))
        reading = (
            self.reading_
            if before
            else choose_reading(
                candidates(parts[0].rows, {"motifs": self._motifs(len(parts[0]))} | self._given()),
                lambda option: DNANetwork(self.check(len(classes), option, kmer_size=0, letter_dropout=hidden)),
                loss,
                *parts,
                self.configure(TrainingConfig),
            )
        )
        config = self.check(len(classes), reading, letter_dropout=hidden)
        if not before and hasattr(self, "pretrained_"):
            before = self.pretrained_.weights
        is_same = np.array_equal(classes, getattr(self, "classes_", ()))
        fitted: dict[str, Any] = {
            "classes_": classes,
            "lengths_": (int(lengths.min()), int(np.median(lengths)), int(lengths.max())),
            "reading_": reading,
        }
        training = self.configure(TrainingConfig)
        if training.max_minutes is not None:
            training = replace(training, max_minutes=training.max_minutes / self.ensemble)
        trained: list[DNANetwork] = []
        seconds = 0.0
        try:
            for seed in range(self.random_state, self.random_state + self.ensemble):
                with temporary_seed(seed):
                    network = DNANetwork(config)
                take_weights(network, before, is_same)
                if network.kmers is not None:
                    if trained and trained[0].kmers is not None:
                        network.kmers.load_state_dict(trained[0].kmers.state_dict())
                    else:
                        self._fit_kmers(network.kmers, parts, weights, reading.strand == "both")
                own = replace(training, random_state=seed)
                loaders = training_loaders(*parts, self.batch_size, seed)
                self.train_network(network, loss, *loaders, on_epoch, config=own, **fitted)
                trained.append(network)
                seconds += self.history_.seconds
        finally:
            if len(trained) > 1:
                self.network_ = DNAEnsemble.of(trained)
                self.history_.seconds = seconds
        return self

    def _fit_kmers(
        self, kmers: KmerLogits, parts: tuple[Examples, Examples], weights: Tensor | None, both: bool
    ) -> None:
        """Set the k-mers' way to the logits, and what the training sequences see of it."""
        (rows, classes), validating = ((part.rows, part.classes.numpy()) for part in parts)
        own = None if weights is None else weights.numpy()[classes]
        logits = kmers.fit_regression((rows, classes), validating, own, both)
        parts[0].kmer_logits = torch.from_numpy(logits)

    def pretrain(self, X: Any) -> Self:
        """Learn to read sequences without classes, by telling hidden letters; `fit` then begins there.

        Where `pool` is None, tokens of 2 letters are read if the median sequence has at most 160 letters, else of 4.

        Args:
            X: any sequences of the kind, labelled or not, at least 2.

        Raises:
            DataError: the sequences cannot be used.
            TrainingError: the loss is not finite.
        """
        rows = self._rows(X)
        if len(rows) < 2:
            raise DataError("at least 2 sequences are needed to pretrain, one of them to validate")
        order = np.random.default_rng(int(self.random_state) % 2**32).permutation(len(rows))
        count = min(max(1, round(self.validation_fraction * len(rows))), len(rows) - 1)
        pool = usual_pool(rows) if self.pool is None else self.pool
        config = self.check(2, Reading(pool=pool, motifs=self._motifs(len(rows))), kmer_size=0)
        with temporary_seed(self.random_state):
            network = DNANetwork(config)
        training, validation = ([rows[i] for i in index] for index in (order[count:], order[:count]))
        self.pretrained_ = pretrain_network(network, training, validation, self.configure(TrainingConfig))
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each sequence (N,)."""
        index = self.predict_logits(X).argmax(1)
        chosen: NDArray[Any] = self.classes_[index]
        return chosen

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return probabilities (N, K), columns as `classes_`; rows add up to 1.

        Raises:
            DataError: a sequence cannot be read, or is longer than 100,000 letters.
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        scores = self.predict_logits(X)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        probabilities: NDArray[np.float64] = shares / shares.sum(1, keepdims=True)
        return probabilities

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the log-odds (N,) of the second of two classes; the logits (N, K) of more."""
        scores = self.predict_logits(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_logits(self, X: Any) -> NDArray[np.float64]:
        """Return logits (N, K): the logarithms of the probabilities, up to a constant of each row."""
        check_is_fitted(self, "network_")
        rows = self._rows(X)
        shortest = min(map(len, rows))
        if 2 * shortest < self.lengths_[0]:
            warnings.warn(
                f"a sequence has {shortest} letters, the shortest of the training data has {self.lengths_[0]}: "
                "its class is a guess far outside what was learned",
                TitansSeqWarning,
                stacklevel=3,
            )
        return predict_logits(self.network_, rows).astype(np.float64)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return what the network's head reads of each sequence (N, F): embeddings, without positions and k-mers."""
        check_is_fitted(self, "network_")
        return apply_network(self.network_.features, self._rows(X), "the embeddings")

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: embeddings are float32, whatever X is."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def stored_parameters(self) -> dict[str, Any]:
        """Return the parameters as JSON can hold them."""
        parameters = super().stored_parameters()
        if isinstance(parameters["class_weight"], dict):
            parameters["class_weight"] = None  # keys need not be text; only training needs it
        return parameters

    def fitted_config(self) -> dict[str, Any]:
        """Return classes, lengths and reading as plain values."""
        return {
            "classes": classes_to_dict(self.classes_),
            "lengths": list(self.lengths_),
            "reading": self.reading_.model_dump(),
            "networks": len(self.networks),
        }

    def restore(self, fitted: FittedDNA, tensors: dict[str, Tensor]) -> Callable[[], DNANetwork | DNAEnsemble]:
        """Set classes, lengths and reading; see `TitansEstimator.restore`."""
        self.classes_ = classes_from_stored(fitted.classes)
        self.lengths_ = fitted.lengths
        self.reading_ = fitted.reading
        config = self.check(len(self.classes_), self.reading_)
        size = fitted.networks
        return lambda: DNANetwork(config) if size == 1 else DNAEnsemble(config, size)

    @property
    def networks(self) -> list[DNANetwork]:
        """The networks of the ensemble; one if it is none."""
        return self.network_.networks if isinstance(self.network_, DNAEnsemble) else [self.network_]

    def check(self, classes: int, reading: Reading | None = None, **changes: Any) -> DNAConfig:
        """Return the configuration of a network for so many classes.

        Args:
            reading: how it reads; None: as given, and as usual where nothing is.
            changes: fields that differ from the parameters.

        Raises:
            DataError: a parameter cannot be used.
        """
        if not isinstance(self.label_smoothing, int | float) or not 0 <= self.label_smoothing < 1:
            raise DataError(f"label_smoothing must lie from 0 and below 1, not {self.label_smoothing!r}")
        if not isinstance(self.ensemble, int) or not 1 <= self.ensemble <= MOST_NETWORKS:
            raise DataError(f"ensemble must be a whole number from 1 to {MOST_NETWORKS}, not {self.ensemble!r}")
        self.configure(TrainingConfig)
        mixer, variant = split_variant(self.variant)
        changes.setdefault("letter_dropout", self._letter_dropout(0))
        own = (
            self._given()
            if reading is None
            else reading.model_dump() | ({} if self.motifs is None else {"motifs": self.motifs})
        )
        return self.configure(
            DNAConfig,
            **(Reading().model_dump() | own),
            **changes,
            classes=classes,
            mixer=mixer,
            backbone=self.configure(BackboneConfig, variant=variant),
        )

    def _motifs(self, count: int) -> int:
        """Return the filters of a network that so many sequences train."""
        return MOTIFS[count > FEW] if self.motifs is None else self.motifs

    def _letter_dropout(self, count: int) -> float:
        """Return the share of letters made unknown while so many sequences train."""
        return LETTER_DROPOUT[count > FEW] if self.letter_dropout is None else self.letter_dropout

    def _before(self) -> dict[str, Tensor]:
        """Return the weights from which `fit` begins; none without warm start and pretraining."""
        if self.warm_start and hasattr(self, "network_"):
            return dict(self.networks[0].state_dict())
        return {}

    def _given(self) -> dict[str, Any]:
        """Return what the user has said of the reading."""
        own = {"strand": self.strand, "pool": self.pool, "sections": self.sections, "motifs": self.motifs}
        if hasattr(self, "pretrained_"):
            own |= {"pool": self.pretrained_.pool, "motifs": len(self.pretrained_.weights["motifs.weight"])}
        return {name: value for name, value in own.items() if value is not None and value != "auto"}

    def _rows(self, X: Any) -> Rows:
        rows = encode_sequences(X, self.ambiguous)
        check_lengths(rows)
        return rows
