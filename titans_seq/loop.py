"""The Lightning module behind `titans_seq.training.train`; imported only when training starts."""

import math
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from titans_seq.errors import NonFiniteError
from titans_seq.training import LossFunction, TrainingConfig


class Loop(lightning.LightningModule):  # type: ignore[misc]
    """A network and its loss as Lightning wants them: AdamW, warm-up and cosine, losses logged per epoch."""

    def __init__(self, network: nn.Module, loss: LossFunction, config: TrainingConfig) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.settings = config

    def training_step(self, batch: Any, index: int) -> Tensor:
        """One batch's loss; NonFiniteError where it is none."""
        loss = self.loss(self.network, batch)
        if not bool(torch.isfinite(loss)):
            raise NonFiniteError("the loss is not finite")
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch), prog_bar=True)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        """Logged, weighted by the batch's size."""
        self.log("val_loss", self.loss(self.network, batch), batch_size=len(batch), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW with weight decay on matrices only; the rate moves with every step."""
        config = self.settings
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        vectors = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
        total = int(self.trainer.estimated_stepping_batches)
        warm = max(1, total // (10 * config.max_epochs))

        def rate(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            progress = (step - warm) / max(1, total - warm)
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(progress * math.pi))

        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, rate), "interval": "step"},
        }
