"""Train networks that see a window of fixed length, as the baselines do, and roll them over others.

Axes: W windows, B batch, C channels, L look-back, H horizon.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from titans_seq.domains.timeseries.losses import mse
from titans_seq.domains.timeseries.prepare import TrainingWindows
from titans_seq.domains.timeseries.windows import Windows
from titans_seq.training import History, TrainingConfig, train


def fit_network(network: nn.Module, data: TrainingWindows, horizon: int, config: TrainingConfig) -> History:
    """Train (B, C, L) -> (B, C, H) on the training windows by the squared error.

    See `titans_seq.training.train` for the errors.
    """

    def loss(net: nn.Module, batch: Tensor) -> Tensor:
        return mse(net(batch[..., :-horizon]), batch[..., -horizon:])

    batches = data.train.loader(config.batch_size, shuffle=True, seed=config.random_state)
    return train(network, loss, batches, data.validation.loader(4 * config.batch_size), config)


def roll(
    network: nn.Module, windows: Windows, horizon: int, context: int | None = None, batch_size: int = 256
) -> NDArray[np.float32]:
    """Return the forecast of every window, (W, C, H); the network sees `context` steps (None: all)."""
    network.eval()
    forecasts = []
    with torch.inference_mode():
        for batch in windows.loader(batch_size):
            before = batch[..., :-horizon]
            forecasts.append(network(before if context is None else before[..., -context:]).numpy())
    return np.concatenate(forecasts)
