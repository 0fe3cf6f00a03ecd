"""Train any forecasting network on prepared windows, and roll it over others.

Axes: W windows, B batch, C channels, L look-back, H horizon.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from titans_seq.domains.timeseries.losses import LOSSES
from titans_seq.domains.timeseries.prepare import Prepared
from titans_seq.domains.timeseries.windows import Windows
from titans_seq.training import History, LossFunction, TrainingConfig, train


def fit_network(
    network: nn.Module,
    data: Prepared,
    horizon: int,
    loss: str,
    batch_size: int,
    config: TrainingConfig,
    on_epoch: Callable[[History], None] | None = None,
    history: History | None = None,
) -> History:
    """Train (B, C, L) -> (B, C, H) on the training windows; the validation loss is the plain squared error.

    See `titans_seq.training.train` for the callback, the history and the errors.
    """
    return train(
        network,
        window_loss(horizon, loss),
        data.train.loader(batch_size, shuffle=True, seed=config.seed),
        data.validation.loader(4 * batch_size),
        config,
        on_epoch,
        history,
    )


def window_loss(horizon: int, name: str) -> LossFunction:
    """The loss of a batch of windows (B, C, L + H): in training the one of that name, else the plain squared error."""
    objective, judge = LOSSES[name], LOSSES["mse"]

    def loss(net: nn.Module, batch: Tensor) -> Tensor:
        past, target = batch[..., :-horizon], batch[..., -horizon:]
        return (objective if net.training else judge)(net(past), target)

    return loss


def roll(
    network: nn.Module, windows: Windows, horizon: int, context: int | None = None, batch_size: int = 256
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Target and forecast of every window, (W, C, H) each; the network sees the last `context` steps (None: all)."""
    network.eval()
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    targets, forecasts = [], []
    with torch.inference_mode():
        for batch in windows.loader(batch_size):
            past = batch[..., :-horizon]
            past = past if context is None else past[..., -context:]
            targets.append(batch[..., -horizon:].numpy())
            forecasts.append(network(past.to(device)).cpu().numpy())
    return np.concatenate(targets), np.concatenate(forecasts)
