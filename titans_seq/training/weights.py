"""Weights of an earlier network as the start of another one."""

from collections.abc import Mapping

from torch import Tensor, nn

from titans_seq.errors import DataError


def copy_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a network by name; what has no weight among them stays as it is.

    Raises:
        DataError: the network has other sizes.
    """
    own = network.state_dict()
    for name, tensor in weights.items():
        if name not in own or own[name].shape != tensor.shape:
            raise DataError(f"warm_start: the earlier network has other sizes, as {name} shows; keep its parameters")
    network.load_state_dict(weights, strict=False)
