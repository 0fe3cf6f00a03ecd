"""The Lightning module behind `titans_seq.training.train.train`; imported only when training starts."""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from titans_seq.errors import NonFiniteError
from titans_seq.training.config import LossFunction, TrainingConfig
from titans_seq.training.gate_cost import gate_price
from titans_seq.training.optimizer import make_optimizer
from titans_seq.training.processes import take_share, weight_of
from titans_seq.training.seed import temporary_seed

WARM_UP = 0.05
"""Share of a limited training time after which the rate has risen at the latest."""


class Loop(lightning.LightningModule):  # type: ignore[misc]
    """A network and its loss as Lightning wants them: an optimizer, warm-up and cosine, losses logged per epoch."""

    def __init__(self, network: nn.Module, loss: LossFunction, config: TrainingConfig) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.settings = config
        self.size, self.weight = 0, 1.0
        self.over = 0.0
        """Share of the training that is over, by steps or by time."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Keep this process's share of a batch; all of it where there is one process."""
        self.size = weight_of(batch)
        batch, self.weight = take_share(batch, self.trainer.global_rank, self.trainer.world_size)
        return batch

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell the data how far the training is, if they have an attribute `progress`."""
        data = self.trainer.train_dataloader.dataset
        if hasattr(data, "progress"):
            data.progress = self.over

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Return the loss of a batch and its price; raise NonFiniteError on all processes where one has no loss."""
        with self._own_randomness(), gate_price(self.network, self.settings.gate_cost) as price:
            loss = self._weighted(batch)
        if not self.trainer.strategy.reduce_boolean_decision(bool(torch.isfinite(loss))):
            raise NonFiniteError("the loss is not finite")
        self._log("train_loss", loss, on_step=False, on_epoch=True)
        return sum((self.weight * torch.exp(-loss.detach()) * part for part in price), loss)

    def validation_step(self, batch: Any, index: int) -> None:
        """Log the loss, weighted by the size of the batch."""
        self._log("val_loss", self._weighted(batch))

    def _weighted(self, batch: Any) -> Tensor:
        """Return the loss of a share, such that the mean over all processes is the loss of the batch."""
        loss = self.loss(self.network, batch)
        return loss if self.weight == 1 else self.weight * loss

    def _log(self, name: str, loss: Tensor, **when: bool) -> None:
        many = self.trainer.world_size > 1
        self.log(name, loss, batch_size=self.size, prog_bar=True, sync_dist=many, **when)

    def _own_randomness(self) -> AbstractContextManager[None]:
        """Give each process its own dropout, while the numbers that order the batches stay the same on all of them."""
        rank, count = self.trainer.global_rank, self.trainer.world_size
        return (
            temporary_seed(int(self.settings.random_state) + 1 + count * self.trainer.global_step + rank)
            if count > 1
            else nullcontext()
        )

    def _spent(self, started: float) -> float:
        """Return the share of the training time that is spent, the same on all processes; 0 where time is free."""
        if self.settings.max_minutes is None:
            return 0.0
        share = (time.perf_counter() - started) / (60 * self.settings.max_minutes)
        return float(self.trainer.strategy.broadcast(share))

    def configure_optimizers(self) -> Any:
        """Return the optimizer, and a rate that changes with every step."""
        config = self.settings
        optimizer = make_optimizer(self.network, config)
        total = int(self.trainer.estimated_stepping_batches)
        warm = max(1, total // (10 * config.max_epochs))
        started = time.perf_counter()

        def rate(step: int) -> float:
            spent = self._spent(started)
            self.over = max(step / max(1, total), spent)
            ramp = max((step + 1) / warm, spent / WARM_UP)
            if ramp < 1:
                return ramp
            progress = max((step - warm) / max(1, total - warm), (spent - WARM_UP) / (1 - WARM_UP))
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(min(1.0, max(0.0, progress)) * math.pi))

        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, rate), "interval": "step"},
        }
