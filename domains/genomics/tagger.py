"""The scikit-learn tagger of DNA: a class for every letter. Axes: L letters of a sequence, K classes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.genomics.alphabet import Ambiguous, Rows
from titans_seq.domains.genomics.encoder import encode_sequences, pad_rows
from titans_seq.domains.genomics.labels import StoredClasses, check_labels, classes_from_stored, classes_to_dict
from titans_seq.domains.genomics.mixers import split_variant
from titans_seq.domains.genomics.stream import Stretch
from titans_seq.domains.genomics.tag_batches import TaggedSegments, fixed_segments, tagging_loss
from titans_seq.domains.genomics.tag_network import TaggerConfig, TaggerNetwork
from titans_seq.errors import DataError
from titans_seq.estimator import TitansEstimator
from titans_seq.stored import Stored
from titans_seq.training import TrainingConfig, temporary_seed
from titans_seq.validation import check_answer, check_whole

TOGETHER = 65_536
"""Letters that are read at once, where no gradients are needed."""


class FittedTagger(Stored):
    """What `TitansDNATagger.fit` learned beside the network, in a saved model."""

    classes: StoredClasses


class TitansDNATagger(
    TitansEstimator,
    configs=(TaggerConfig, BackboneConfig, TrainingConfig),
    derived=("mixer", "checkpoint_tokens"),
    defaults={
        "dim": 64,
        "layers": 2,
        "heads": 4,
        "chunk_size": 16,
        "window": 128,
        "memory_depth": 1,
        "half_life": 30.0,
        "longest_half_life": 500.0,
        "learning_rate": 2e-3,
        "weight_decay": 0.05,
        "batch_size": 4,
        "max_epochs": 6,
        "average": 0.99,
    },
):
    """Give every letter of DNA a class, such as coding or not: a Titans memory reads from both sides.

    X is a list of str, bytes, Biopython Seq or SeqRecord, of any length; y has a class for each letter of each of them,
    as an array or a str. Long sequences are read in segments with flanks on both sides, in constant memory.

    Attributes:
        classes_: the classes, sorted.
        history_: losses per epoch and seconds.
        network_: the trained network.

    Examples:
        >>> X = ["ACGT" * 60 + "AATT" * 60] * 4
        >>> y = ["c" * 240 + "n" * 240] * 4
        >>> model = TitansDNATagger(dim=16, layers=1, heads=1, segment=96, flank=24, max_epochs=6).fit(X, y)
        >>> model.predict(X[:1])[0].shape
        (480,)
    """

    Fitted = FittedTagger

    classes_: NDArray[Any]
    network_: TaggerNetwork

    variant: str = "lmm"
    """Backbone, see `BackboneConfig.variant`; "convolution" and "none" put a convolution, or nothing, in the place of
    the memory."""

    segment: int = 1536
    """Letters that are read as one, in training and, with flanks, later."""

    flank: int = 768
    """Letters on both sides of a segment that are read with it when classes are told."""

    ambiguous: Ambiguous = "unknown"
    """"unknown" maps N and the other IUPAC codes to one unknown letter, "error" refuses them."""

    def fit(self, X: Any, y: Any, on_epoch: Callable[[Self, bool], object] | None = None) -> Self:
        """Learn from sequences whose letters have classes; the last part of each sequence validates.

        Args:
            y: for each sequence its letters' classes, (L,) or a str of as many characters.
            on_epoch: called after each epoch with this model, fitted as far as it is, and whether the epoch was the
                best so far.

        Raises:
            DataError: sequences, classes or a parameter cannot be used; the message says why.
            KeyboardInterrupt: after Ctrl-C; the model is then fitted with the best weights so far, if there are any.
        """
        rows = encode_sequences(X, self.ambiguous)
        labels = letter_labels(y, rows)
        classes = np.unique(np.concatenate(labels))
        if len(classes) < 2:
            raise DataError(f"at least 2 classes are needed, there is one class only: {classes.tolist()[0]!r}")
        config = self.check(len(classes))
        numbers = [np.searchsorted(classes, own).astype(np.int64) for own in labels]
        cuts = [len(row) - max(1, round(self.validation_fraction * len(row))) for row in rows]
        training = TaggedSegments(
            [row[:cut] for row, cut in zip(rows, cuts, strict=True)],
            [own[:cut] for own, cut in zip(numbers, cuts, strict=True)],
            self.segment,
            self.batch_size,
            int(self.random_state),
        )
        validation = fixed_segments(
            [row[cut:] for row, cut in zip(rows, cuts, strict=True)],
            [own[cut:] for own, cut in zip(numbers, cuts, strict=True)],
            self.segment,
            self.batch_size,
        )
        with temporary_seed(self.random_state):
            network = TaggerNetwork(config)
        self.train_network(network, tagging_loss, training.loader(), validation, on_epoch, classes_=classes)
        return self

    def predict(self, X: Any) -> list[NDArray[Any]]:
        """Return the most probable class of each letter (L,), for each sequence."""
        return [self.classes_[shares.argmax(1)] for shares in self.predict_proba(X)]

    def predict_proba(self, X: Any) -> list[NDArray[np.float32]]:
        """Return probabilities (L, K) for each sequence, columns as `classes_`.

        Raises:
            DataError: a sequence cannot be read.
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        check_is_fitted(self, "network_")
        rows = encode_sequences(X, self.ambiguous)
        whole = (Stretch(str(number), 0, row, True) for number, row in enumerate(rows))
        found: list[list[NDArray[np.float32]]] = [[] for _ in rows]
        for name, _, shares in self.stream(whole):
            found[int(name)].append(shares)
        return [np.concatenate(parts) for parts in found]

    def stream(self, stretches: Iterable[Stretch]) -> Iterator[tuple[str, int, NDArray[np.float32]]]:
        """Yield name of a record, letters before, and probabilities (L, K), of records of any length as they come.

        However a record is cut into stretches, the probabilities are the same; no more than some segments are kept.

        Args:
            stretches: see `titans_seq.domains.genomics.stream.read_stretches`.
        """
        check_is_fitted(self, "network_")
        kept, start, done = np.empty(0, dtype=np.uint8), 0, 0  # letters, their place, letters that are told
        for stretch in stretches:
            if stretch.start == 0:
                kept, start, done = kept[:0], 0, 0
            kept = np.concatenate([kept, stretch.codes])
            end = start + len(kept)
            pieces: list[tuple[int, int]] = []
            while done + self.segment + self.flank <= end or (stretch.is_last and done < end):
                pieces.append((done, min(done + self.segment, end)))
                done = pieces[-1][1]
            for first in range(0, len(pieces), self._together()):
                some = pieces[first : first + self._together()]
                for (begin, last), shares in zip(some, self._tell(kept, start, some), strict=True):
                    yield stretch.name, begin, shares[: last - begin]
            passed = max(0, done - self.flank - start)
            start, kept = start + passed, kept[passed:]

    def _together(self) -> int:
        return max(1, TOGETHER // (self.segment + 2 * self.flank))

    def _tell(
        self, codes: NDArray[np.uint8], start: int, pieces: list[tuple[int, int]]
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the probabilities of pieces of a record, of whose letters those behind `start` are given."""
        left = [max(start, first - self.flank) for first, _ in pieces]
        rows = [codes[a - start : last + self.flank - start] for a, (_, last) in zip(left, pieces, strict=True)]
        with torch.inference_mode():
            logits = self.network_(torch.from_numpy(pad_rows(rows)))
        check_answer(logits, "the logits")
        shares = softmax(logits.numpy(), axis=-1)
        for row, (a, (first, last)) in enumerate(zip(left, pieces, strict=True)):
            yield shares[row, first - a : last - a]

    def fitted_config(self) -> dict[str, Any]:
        """Return the classes as plain values."""
        return {"classes": classes_to_dict(self.classes_)}

    def restore(self, fitted: FittedTagger, tensors: dict[str, Tensor]) -> Callable[[], TaggerNetwork]:
        """Set the classes; see `TitansEstimator.restore`."""
        self.classes_ = classes_from_stored(fitted.classes)
        config = self.check(len(self.classes_))
        return lambda: TaggerNetwork(config)

    def check(self, classes: int) -> TaggerConfig:
        """Return the configuration of a network for so many classes.

        Raises:
            DataError: a parameter cannot be used.
        """
        self.configure(TrainingConfig)
        mixer, variant = split_variant(self.variant)
        try:
            check_whole(1, segment=self.segment)
            check_whole(0, flank=self.flank)
        except ValueError as error:
            raise DataError(str(error)) from error
        config = self.configure(
            TaggerConfig,
            classes=classes,
            mixer=mixer,
            backbone=self.configure(BackboneConfig, variant=variant),
        )
        if self.segment % config.token or self.flank % config.token:
            raise DataError(f"segment and flank must be multiples of token {config.token}")
        return config


def letter_labels(y: Any, rows: Rows) -> list[NDArray[Any]]:
    """Return the classes of the letters of each sequence (L,).

    Raises:
        DataError: there are not as many as letters, or they are no classes.
    """
    given = list(y) if y is not None else []
    if len(given) != len(rows):
        raise DataError(f"there are {len(rows)} sequences but the classes of {len(given)}")
    labels = [np.array(list(own)) if isinstance(own, str) else own for own in given]
    found = []
    for number, (own, row) in enumerate(zip(labels, rows, strict=True), 1):
        try:
            found.append(check_labels(own, len(row)))
        except DataError as error:
            raise DataError(f"sequence {number}: {str(error).replace('sequences', 'letters')}") from error
    if len({own.dtype.kind for own in found}) > 1:
        raise DataError("the classes of all sequences must be of one kind")
    return found
