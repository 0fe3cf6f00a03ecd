"""Losses of a training, epoch by epoch, and the best weights."""

import math
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor

from titans_seq.stored import Stored


class StoredHistory(Stored):
    """A history in a saved model; losses that are not finite are null."""

    train_loss: list[float | None]
    validation_loss: list[float | None]
    start: float | None = None
    seconds: float


@dataclass
class History:
    """Losses per epoch, wall time, and the weights of the best epoch."""

    train_loss: list[float] = field(default_factory=list)
    """Mean loss of each epoch."""
    validation_loss: list[float] = field(default_factory=list)
    """Loss on the validation data after each epoch."""
    start: float | None = None
    """Loss on the validation data before training, if the network as it was could be kept."""
    seconds: float = 0.0
    """Wall time."""
    steps: int = 0
    """Training steps taken; not stored."""
    best: dict[str, Tensor] | None = field(default=None, repr=False)
    """Weights at the lowest validation loss."""

    @property
    def lowest(self) -> float:
        """Lowest validation loss so far."""
        return min([*self.validation_loss, *([] if self.start is None else [self.start])], default=math.inf)

    @property
    def best_epoch(self) -> int:
        """Epoch of the lowest validation loss, counted from 0."""
        return min(range(len(self.validation_loss)), key=self.validation_loss.__getitem__)

    @property
    def is_best_last(self) -> bool:
        """Whether the last epoch is the best so far."""
        return self.validation_loss[-1] <= self.lowest and self.best_epoch == len(self.validation_loss) - 1

    def to_dict(self) -> dict[str, Any]:
        """Return losses and seconds as plain values."""
        losses = {"train_loss": self.train_loss, "validation_loss": self.validation_loss}
        return losses | {"start": self.start, "seconds": self.seconds}

    @classmethod
    def from_stored(cls, stored: StoredHistory) -> Self:
        """Return the history that `to_dict` described."""
        train, validation = (
            [math.nan if x is None else x for x in losses] for losses in (stored.train_loss, stored.validation_loss)
        )
        return cls(train, validation, stored.start, stored.seconds)
