"""Training rows that grow when what they teach is known.

What belongs together is learned in short rows, where attention sees all of it; where rows grow before, nothing is
learned for a long time.
"""

import numpy as np

from benchmarks.options import doubled

LEARNED = 0.2
"""Running mean of the loss, nats, at which rows may be longer, where nothing else is said."""


class Growth:
    """Lengths that double, each time that the loss has fallen far enough.

    Args:
        shortest: length of the rows at first.
        longest: at the end, `shortest` times a power of two.
        learned: running mean of what is judged, at which rows may be longer; it begins anew at 1.
    """

    def __init__(self, shortest: int, longest: int, learned: float = LEARNED) -> None:
        self.lengths, self.learned = doubled(shortest, longest), learned
        self.known, self.mean = 1, 1.0

    @property
    def length(self) -> int:
        """Of the longest rows by now."""
        return self.lengths[self.known - 1]

    def draw(self, rng: np.random.Generator) -> int:
        """Return one of the lengths that are known by now."""
        return self.lengths[int(rng.integers(self.known))]

    def judge(self, loss: float) -> None:
        """Take in the loss of a training step."""
        self.mean += 0.1 * (loss - self.mean)
        if self.mean < self.learned and self.known < len(self.lengths):
            self.known, self.mean = self.known + 1, 1.0
