"""The state of a stream as a cache of `transformers`. Axes: B rows."""

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache

from titans_seq.backbone import BackboneState


class TitansCache(Cache):  # type: ignore[misc]
    """A backbone in the middle of its streams; its size does not grow with what was read.

    It cannot be cropped: what the memory has learned cannot be taken back. Copy it before to keep a place.
    """

    is_compileable = False

    def __init__(self, state: BackboneState | None = None, seen: int = 0) -> None:
        super().__init__(layers=[])
        self.state = state
        """What the network goes on from; None: the beginning."""
        self.seen = seen
        """Tokens read so far, masked ones included."""

    def __len__(self) -> int:
        return 0 if self.state is None else len(self.state.layers)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the tokens read so far."""
        return self.seen

    def get_max_length(self, layer_idx: int | None = None) -> int:
        """Return -1: there is no limit."""
        return -1

    @property
    def is_initialized(self) -> bool:
        """Whether anything was read."""
        return self.state is not None

    @property
    def max_batch_size(self) -> int:
        """Rows."""
        return 0 if self.state is None else len(self.state.tensors()[0])

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Take these rows (B,), in this order: a search goes on from its best beams."""
        if self.state is not None:
            self.state = self.state.select(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows."""
        self.reorder_cache(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        if self.state is not None:
            self.state = self.state.map(lambda t: t.repeat_interleave(repeats, 0))

    def crop(self, *arguments: Any, **options: Any) -> None:
        """Refuse: a memory that has learned does not go back."""
        raise NotImplementedError("a Titans cache cannot be cropped: copy it before, and go on from the copy")

    def reset(self) -> None:
        """Forget everything."""
        self.state, self.seen = None, 0
