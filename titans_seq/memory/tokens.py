"""What the memory reads of a run of tokens. Axes: B batch, H heads, T tokens, D features of a head."""

from typing import NamedTuple

from torch import Tensor


class Tokens(NamedTuple):
    """Queries, keys, values and gates."""

    q: Tensor
    """(B, H, T, D), as k and v."""
    k: Tensor
    v: Tensor
    step_size: Tensor
    """theta (B, H, T); eta and alpha likewise, None where switched off."""
    momentum: Tensor | None
    forget: Tensor | None

    def slice(self, start: int, stop: int) -> "Tokens":
        """Return the tokens from start to stop."""
        return Tokens(*(None if t is None else t[:, :, start:stop] for t in self))  # type: ignore[arg-type]

    def chunks(self, size: int) -> "list[Tokens]":
        """Return (B, H, N, C, ...) of the whole chunks, and of the shorter one behind them."""
        length = self.q.shape[2]
        whole = length - length % size
        cuts = [(0, whole, size), (whole, length, length - whole)]
        return [
            Tokens(*(None if t is None else t.unflatten(2, (-1, c)) for t in self.slice(start, stop)))  # type: ignore[arg-type]
            for start, stop, c in cuts
            if start < stop
        ]
