"""Windows of many series, cut from one tensor at tensor speed.

Axes: S rows of all series one below the other, C channels, W windows, B batch, L length of a window, H horizon.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


class Windows(Dataset[Tensor]):
    """Every stretch of `length` rows within one series, as (C, L) views of the data; nothing is copied until asked.

    Args:
        series: one (T, C) floating tensor per series; NaN marks a missing value.
        length: rows of a window.
        target: the last rows of a window, of which at least one value must be observed, as of the rows before.

    Windows whose target, or whose rows before it, hold no observed value at all are left out.
    """

    def __init__(self, series: Sequence[Tensor], length: int, target: int) -> None:
        self.values = torch.cat(list(series))  # (S, C)
        starts, offset = [], 0
        for values in series:
            starts.append(torch.arange(offset, offset + max(0, len(values) - length + 1)))
            offset += len(values)
        self.starts = torch.cat(starts)
        if len(self.starts):
            seen = torch.isfinite(self.values).any(1).long().cumsum(0)
            seen = torch.cat([seen.new_zeros(1), seen])
            split, end = self.starts + length - target, self.starts + length
            useful = (seen[split] > seen[self.starts]) & (seen[end] > seen[split])
            self.starts = self.starts[useful]
        self._views = self.values.unfold(0, length, 1) if len(self.values) >= length else None

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int] | Tensor) -> Tensor:
        """Return (B, C, L) for a list of window numbers."""
        if self._views is None:
            raise IndexError("no series is long enough for a window")
        return self._views[self.starts[torch.as_tensor(indices)]]

    def targets(self, horizon: int) -> NDArray[np.float32]:
        """Return the last `horizon` rows of every window, (W, C, H)."""
        found: NDArray[np.float32] = self.__getitems__(list(range(len(self))))[..., -horizon:].numpy()
        return found

    def loader(self, batch_size: int, shuffle: bool = False, seed: int = 0) -> DataLoader[Tensor]:
        """Return batches (B, C, L); no window is dropped."""
        generator = torch.Generator().manual_seed(seed)
        return DataLoader(self, batch_size, shuffle=shuffle, generator=generator, collate_fn=_identity)


def _identity(batch: Any) -> Any:
    """Return the batch, which `__getitems__` has collated already."""
    return batch
