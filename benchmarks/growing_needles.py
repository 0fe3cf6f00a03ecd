"""Needles in texts that grow in training."""

from dataclasses import replace

from benchmarks.growth import Growth
from titans_seq.domains.language.needle import NeedleTask
from titans_seq.domains.language.retrieval import NeedleBatch, NeedleBatches


class GrowingNeedles(NeedleBatches):
    """Batches of new examples whose length doubles from that of `task` on.

    Args:
        longest: bytes of the longest examples, those of `task` times a power of two.
        size: bytes of a batch; two examples at the least.
        count: batches of a pass.
    """

    def __init__(
        self, task: NeedleTask, longest: int, size: int, count: int, seed: int, haystack: str | None = None
    ) -> None:
        super().__init__(task, max(2, size // task.length), count, seed, haystack)
        self.size, self.growth = size, Growth(task.length, longest)

    def _make(self) -> NeedleBatch:
        self.task = replace(self.task, length=self.growth.draw(self.seeds))
        self.batch = max(2, self.size // self.task.length)
        return super()._make()
