"""The optimizers of a training: AdamW, or Muon on matrices and AdamW on the rest, behind one interface."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from titans_seq.training.config import TrainingConfig

MUON_RATE = 3.0
"""Rate of Muon in units of `learning_rate`, with updates scaled to the size of AdamW's."""

SMALLEST = 8
"""Rows and columns of a matrix that Muon takes, at the least."""


class Together(torch.optim.Optimizer):
    """Several optimizers of disjoint parameters as one."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        self.optimizers = optimizers
        super().__init__([group for optimizer in optimizers for group in optimizer.param_groups], {})
        self._share_groups()

    def _share_groups(self) -> None:
        """Let a scheduler that sets a rate here set it there."""
        self.param_groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step of each."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self._share_groups()


def make_optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimizer that a configuration names; weight decay is on matrices only."""
    embeddings = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    groups: dict[str, list[Tensor]] = {"muon": [], "matrices": [], "vectors": []}
    for parameter in network.parameters():
        is_hidden = parameter.ndim == 2 and min(parameter.shape) >= SMALLEST and id(parameter) not in embeddings
        if config.optimizer == "muon" and is_hidden:
            groups["muon"].append(parameter)
        else:
            groups["matrices" if parameter.ndim > 1 else "vectors"].append(parameter)
    rate, decay = config.learning_rate, config.weight_decay
    adam = [{"params": groups["matrices"], "weight_decay": decay}, {"params": groups["vectors"], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW([group for group in adam if group["params"]], lr=rate, fused=True)
    if not groups["muon"]:
        return adamw
    muon = torch.optim.Muon(
        groups["muon"], lr=MUON_RATE * rate, weight_decay=decay / MUON_RATE, adjust_lr_fn="match_rms_adamw"
    )
    return Together([muon, adamw])
