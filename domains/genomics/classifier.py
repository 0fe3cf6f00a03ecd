"""The scikit-learn style classifier of DNA. Axes: N sequences, K classes."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.genomics.encoder import encoded
from titans_seq.domains.genomics.fitting import Examples, Rows, check_lengths, fit_network, logits
from titans_seq.domains.genomics.labels import checked_labels, restored_classes, stored_classes
from titans_seq.domains.genomics.network import DNAConfig, DNANetwork
from titans_seq.errors import DataError, TitansSeqWarning, reason
from titans_seq.saving import build_network, load_folder, save_folder, translate_load_errors
from titans_seq.training import History, TrainingConfig, temporary_seed
from titans_seq.validation import check_whole

PLAIN = ("convolution", "none")
"""Values of `variant` that put a plain layer, or nothing, where the backbone stands."""


class TitansDNAClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classes of DNA sequences of any length: motifs, a Titans memory that reads them, one linear head.

    X is a list, array or column of str, bytes, Biopython Seq or SeqRecord, or what `SequenceEncoder` made of one.
    Letter case carries no meaning, U is T, N and the other IUPAC codes are one unknown letter. Sequences of different
    lengths are masked exactly: neither padding nor the other sequences of a batch change a result, and a sequence
    shorter than a motif is read as if nothing stood beside it. Up to 100,000 letters are read as one sequence; longer
    ones are refused, never cut.

    Args:
        variant: backbone, see `BackboneConfig.variant`; "convolution" and "none" put a convolution, or nothing, in
            the place of the memory.
        strand: "both" makes a sequence and its reverse complement the same (the mean over both strands; a strand of
            chance in training); "given" is for sequences whose direction is known, as around a start of transcription.
        dim, layers, heads: width of the tokens, blocks, heads of each block.
        memory_depth, memory_expansion, chunk_size, momentum, forget, initial_step, conv_kernel: the memory, see
            `MemoryConfig`.
        window: tokens that attention sees, where the variant has one.
        motifs, motif_width: filters of the first convolution, and the letters each of them sees.
        pool: letters that become one token.
        sections: places along a sequence, from its start to its end, whose features have a way to the answer of their
            own; for sequences that are aligned, as at a start of transcription. 0: position carries no meaning.
        words: length of the words (k-mers) whose counts have a linear way to the answer of their own; up to 2 letters
            less where that validates better; 0: none.
        letter_dropout, dropout: share of letters made unknown, and of features set to zero, in training.
        label_smoothing: share of each target spread over all classes in training.
        class_weight: None, "balanced", or class -> weight.
        learning_rate, weight_decay, batch_size, max_epochs, patience: training; it stops after `patience` epochs
            without gain on the validation part.
        average: decay per step of a running average of the weights, which is what is kept; None: the weights.
        max_minutes: training time at the most; None for no limit.
        validation_fraction: share of the sequences, per class, that validates.
        ambiguous: "unknown", or "error" to refuse N and the other IUPAC codes.
        random_state: seed; the same seed on the same machine gives the same numbers.
        verbose: show a progress bar.

    Attributes:
        classes_: the classes, sorted.
        history_: losses per epoch and seconds.
        network_: the trained network.
        lengths_: shortest, median and longest sequence of the training data, in letters.

    Example:
        >>> rich, poor = ["GCGC" * 5, "GGCC" * 6] * 10, ["ATAT" * 5, "TTAA" * 6] * 10
        >>> model = TitansDNAClassifier(dim=8, heads=1, motifs=8, max_epochs=8, batch_size=8)
        >>> model = model.fit(rich + poor, ["rich"] * 20 + ["poor"] * 20)
        >>> model.predict_proba(["GGCCGGCCGGCC", "ATTATTATTATT"]).shape
        (2, 2)
    """

    classes_: NDArray[Any]
    network_: DNANetwork
    history_: History
    lengths_: tuple[int, int, int]

    def __init__(
        self,
        variant: str = "lmm",
        strand: str = "both",
        *,
        dim: int = 32,
        layers: int = 1,
        heads: int = 2,
        memory_depth: int = 2,
        memory_expansion: float = 2,
        chunk_size: int = 16,
        momentum: bool = True,
        forget: bool = True,
        initial_step: float | None = None,
        conv_kernel: int = 4,
        window: int = 128,
        motifs: int = 64,
        motif_width: int = 12,
        pool: int = 8,
        sections: int = 0,
        words: int = 6,
        letter_dropout: float = 0.1,
        dropout: float = 0.2,
        label_smoothing: float = 0.0,
        class_weight: Any = None,
        learning_rate: float = 4e-3,
        weight_decay: float = 0.05,
        batch_size: int = 64,
        max_epochs: int = 8,
        patience: int = 3,
        average: float | None = 0.99,
        max_minutes: float | None = None,
        validation_fraction: float = 0.1,
        ambiguous: str = "unknown",
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.variant = variant
        self.strand = strand
        self.dim = dim
        self.layers = layers
        self.heads = heads
        self.memory_depth = memory_depth
        self.memory_expansion = memory_expansion
        self.chunk_size = chunk_size
        self.momentum = momentum
        self.forget = forget
        self.initial_step = initial_step
        self.conv_kernel = conv_kernel
        self.window = window
        self.motifs = motifs
        self.motif_width = motif_width
        self.pool = pool
        self.sections = sections
        self.words = words
        self.letter_dropout = letter_dropout
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.average = average
        self.max_minutes = max_minutes
        self.validation_fraction = validation_fraction
        self.ambiguous = ambiguous
        self.random_state = random_state
        self.verbose = verbose

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
        labels = checked_labels(y, len(rows))
        classes, numbers = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise DataError(f"at least 2 classes are needed, there is one class only: {classes.tolist()[0]!r}")
        config, training = self.check(len(classes))
        parts = self._parts(rows, numbers, classes, validation)
        weights = self._weights(classes, numbers)
        lengths = np.array([len(row) for row in rows])
        with temporary_seed(self.random_state):
            network = DNANetwork(config)
        if network.words is not None:
            (known, other) = ((part.rows, part.classes.numpy()) for part in parts)
            own = None if weights is None else weights.numpy()[known[1]]
            parts[0].words = torch.from_numpy(network.words.start(known, other, own, self.strand == "both"))

        def remember(history: History) -> None:
            self.classes_, self.network_, self.history_ = classes, network, history
            self.lengths_ = int(lengths.min()), int(np.median(lengths)), int(lengths.max())

        def after_epoch(history: History) -> None:
            if on_epoch is not None and history.best is not None:
                remember(history)
                on_epoch(self, history.best_epoch == len(history.validation_loss) - 1)

        history = History()
        try:
            smoothing = float(self.label_smoothing)
            fit_network(network, *parts, self.batch_size, weights, smoothing, training, after_epoch, history)
        finally:
            if history.best is not None:
                remember(history)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of each sequence (N,)."""
        index = self.decision(X).argmax(1)
        chosen: NDArray[Any] = self.classes_[index]
        return chosen

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities (N, K), columns as `classes_`; rows add up to 1.

        Raises:
            DataError: a sequence cannot be read, or is longer than 100,000 letters.
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        scores = self.decision(X)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        probabilities: NDArray[np.float64] = shares / shares.sum(1, keepdims=True)
        return probabilities

    def decision(self, X: Any) -> NDArray[np.float64]:
        """Logits (N, K): logarithms of the probabilities, up to a constant of each row."""
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
        return logits(self.network_, rows).astype(np.float64)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write config.json and model.safetensors; an earlier model in the folder is replaced."""
        check_is_fitted(self, "network_")
        parameters = self.get_params()
        if isinstance(parameters["class_weight"], dict):
            parameters["class_weight"] = None  # keys need not be text; only training needs it
        config = {
            "parameters": parameters,
            "classes": stored_classes(self.classes_),
            "lengths": list(self.lengths_),
            "training": self.history_.to_dict(),
        }
        return save_folder(folder, type(self).__name__, config, self.network_.state_dict())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote; nothing in the folder is executed.

        Raises:
            ModelError: there is no such model, or it is damaged.
        """
        config, weights = load_folder(folder, cls.__name__)
        with translate_load_errors(folder):
            model = cls(**config["parameters"])
            classes = restored_classes(config["classes"])
            network_config, _ = model.check(len(classes))
            network = build_network(lambda: DNANetwork(network_config), weights)
            shortest, median, longest = (int(n) for n in config["lengths"])
            history = History.from_dict(config["training"])
        model.classes_, model.network_, model.history_ = classes, network, history
        model.lengths_ = shortest, median, longest
        return model

    def check(self, classes: int) -> tuple[DNAConfig, TrainingConfig]:
        """The network for that many classes and the training that the parameters describe.

        Raises:
            DataError: a parameter cannot be used.
        """
        check_whole(1, batch_size=self.batch_size)
        check_whole(0, random_state=self.random_state)
        for name in ("validation_fraction", "label_smoothing"):
            value, low = getattr(self, name), "from" if name == "label_smoothing" else "above"
            if not isinstance(value, int | float) or not (0 <= value < 1) or (low == "above" and value == 0):
                raise DataError(f"{name} must lie {low} 0 and below 1, not {value!r}")
        try:
            plain = self.variant in PLAIN
            backbone = BackboneConfig(
                variant="lmm" if plain else self.variant,  # type: ignore[arg-type]
                dim=self.dim,
                layers=self.layers,
                heads=self.heads,
                window=self.window,
                dropout=self.dropout,
                memory_depth=self.memory_depth,
                memory_expansion=self.memory_expansion,
                chunk_size=self.chunk_size,
                momentum=self.momentum,
                forget=self.forget,
                initial_step=self.initial_step,
                conv_kernel=self.conv_kernel,
            )
            network = DNAConfig(
                classes=classes,
                strand=self.strand,  # type: ignore[arg-type]
                motifs=self.motifs,
                motif_width=self.motif_width,
                pool=self.pool,
                sections=self.sections,
                words=self.words,
                letter_dropout=self.letter_dropout,
                dropout=self.dropout,
                mixer=self.variant if plain else "backbone",  # type: ignore[arg-type]
                backbone=backbone,
            )
            training = TrainingConfig(
                max_epochs=self.max_epochs,
                patience=self.patience,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                average=self.average,
                max_minutes=self.max_minutes,
                random_state=int(self.random_state),
                verbose=self.verbose,
            )
        except (TypeError, ValueError) as error:
            raise DataError(str(error)) from error
        return network, training

    def _rows(self, X: Any) -> Rows:
        rows = encoded(X, self.ambiguous)  # type: ignore[arg-type]
        check_lengths(np.array([len(row) for row in rows]))
        return rows

    def _parts(
        self, rows: Rows, numbers: NDArray[np.int64], classes: NDArray[Any], validation: tuple[Any, Any] | None
    ) -> tuple[Examples, Examples]:
        """What trains and what validates."""
        if validation is not None:
            others = self._rows(validation[0])
            labels = checked_labels(validation[1], len(others))
            unknown = sorted(set(labels.tolist()) - set(classes.tolist()), key=str)
            if unknown:
                raise DataError(f"the validation data has classes that the training data has not: {unknown}")
            return Examples(rows, numbers), Examples(others, np.searchsorted(classes, labels).astype(np.int64))
        counts = np.bincount(numbers)
        if counts.min() < 2:
            label = classes.tolist()[int(counts.argmin())]
            raise DataError(f"class {label!r} has one sequence only: at least 2 are needed, one of them to validate")
        size = min(max(round(self.validation_fraction * len(rows)), len(classes)), len(rows) - len(classes))
        split = StratifiedShuffleSplit(1, test_size=size, random_state=int(self.random_state) % 2**32)
        first, second = next(split.split(numbers, numbers))
        return (
            Examples([rows[i] for i in first], numbers[first]),
            Examples([rows[i] for i in second], numbers[second]),
        )

    def _weights(self, classes: NDArray[Any], numbers: NDArray[np.int64]) -> torch.Tensor | None:
        if self.class_weight is None:
            return None
        try:
            weights = compute_class_weight(self.class_weight, classes=classes, y=classes[numbers])
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"class_weight: {reason(error)}") from error
        return torch.tensor(weights, dtype=torch.float32)
