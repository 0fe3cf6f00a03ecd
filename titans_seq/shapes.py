"""Networks without values: shapes alone, for a count or before saved weights are put in."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def shapes_only(most: float = math.inf) -> Iterator[None]:
    """Create tensors inside without memory behind them, and leave out their initial values.

    On the meta device torch draws initial values by its compiler's reference operators, whose import takes a second.

    Args:
        most: elements of all tensors together.

    Raises:
        ValueError: there were more.
    """
    with torch.device("meta"), _WithoutValues(most):
        yield


class _WithoutValues(TorchFunctionMode):
    """Answers every function of `torch.nn.init` with the tensor it was to fill, and counts what others return."""

    def __init__(self, most: float) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            self.left -= result.numel()
            if self.left < 0:
                raise ValueError("the network is larger than allowed")
        return result
