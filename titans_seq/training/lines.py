"""How far a training is, a line a minute, where no bar can be seen."""

import time
from typing import Any

from lightning.pytorch.callbacks import Callback

from titans_seq.progress import Lines, show_time
from titans_seq.training.history import History


class ProgressLines(Callback):  # type: ignore[misc]
    """Tell epoch, step, losses and the time that is left at the most."""

    def __init__(self, seen: History) -> None:
        self.seen, self.lines = seen, Lines()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """See Lightning."""
        if trainer.is_global_zero:
            self.lines.tell(lambda: self.describe(trainer, module.over))

    def describe(self, trainer: Any, over: float) -> str:
        """Return the line.

        Args:
            over: share of the training that is over.
        """
        text = f"training: epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, step {trainer.global_step:,}"
        if self.seen.validation_loss:
            text += f", train loss {self.seen.train_loss[-1]:.4g}" if self.seen.train_loss else ""
            text += f", validation loss {self.seen.validation_loss[-1]:.4g} (best {self.seen.lowest:.4g})"
        if over > 0:
            text += f", at most {show_time((time.monotonic() - self.lines.started) * (1 - over) / over)} left"
        return text
