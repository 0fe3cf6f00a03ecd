"""Initial projections that recall from the first step on. Axes: D features."""

import torch
from torch import Tensor


@torch.no_grad()
def init_mimetic(project: Tensor, output: Tensor) -> None:
    """Make a mixer's projections begin alike, in place: keys as queries, the output as the inverse of the values.

    A query then finds what a key of the same token wrote, and a value comes out as it went in; with projections drawn
    one by one both have to be learned first, which takes most of the training of a recall task (arXiv 2410.11135,
    arXiv 2305.09828).

    Args:
        project: (3 D or more, D), rows of the queries, keys and values one after the other.
        output: (D, D).
    """
    size = output.shape[0]
    project[size : 2 * size] = project[:size]
    output.copy_(project[2 * size : 3 * size].T)
