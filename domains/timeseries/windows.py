"""Windows of many series, cut from one tensor at tensor speed.

Axes: S rows of all series one below the other, C channels, W windows, B batch, L length of a window, H horizon.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


@dataclass(frozen=True)
class ColumnLayout:
    """Numbers of columns in windows: targets, then covariates known in the past only, then those known ahead."""

    targets: int
    past: int = 0
    future: int = 0

    def inputs(self, batch: Tensor, horizon: int, context: int | None = None) -> tuple[Tensor, ...]:
        """Return a network's inputs from windows (B, C, L): the rows before the horizon, at most the last `context`.

        With covariates that is targets, covariates before and covariates over the horizon.
        """
        before = batch[..., :-horizon]
        before = before if context is None else before[..., -context:]
        if not self.past + self.future:
            return (before,)
        ahead = batch[:, self.targets + self.past :, -horizon:]
        return before[:, : self.targets], before[:, self.targets :], ahead

    def target(self, batch: Tensor, horizon: int) -> Tensor:
        """Return the targets (B, C, H)."""
        return batch[:, : self.targets, -horizon:]


class Windows(Dataset[Tensor]):
    """Every stretch of `length` rows within one series, as (C, L) views of the data; nothing is copied until asked.

    Args:
        series: one (T, C) floating tensor per series; NaN marks a missing value.
        length: rows of a window.
        target: the last rows of a window, of which at least one value must be observed, as of the rows before.
        columns: which of the columns are targets; None: all.

    Windows whose target, or whose rows before it, hold no observed value at all are left out.
    """

    def __init__(self, series: Sequence[Tensor], length: int, target: int, columns: ColumnLayout | None = None) -> None:
        self.values = torch.cat(list(series))  # (S, C)
        self.columns = ColumnLayout(self.values.shape[1]) if columns is None else columns
        starts, offset = [], 0
        for values in series:
            starts.append(torch.arange(offset, offset + max(0, len(values) - length + 1)))
            offset += len(values)
        self.starts = torch.cat(starts)
        if len(self.starts):
            seen = torch.isfinite(self.values[:, : self.columns.targets]).any(1).long().cumsum(0)
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

    def loader(self, batch_size: int, shuffle: bool = False, seed: int = 0) -> DataLoader[Tensor]:
        """Return batches (B, C, L); no window is dropped."""
        generator = torch.Generator().manual_seed(seed)
        return DataLoader(self, batch_size, shuffle=shuffle, generator=generator, collate_fn=_identity)


def _identity(batch: Any) -> Any:
    """Return the batch, which `__getitems__` has collated already."""
    return batch
