"""How to train: batches, rates, and when to stop."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor, nn

from titans_seq.validation import check_whole

Optimizer = Literal["adamw", "muon"]

LossFunction = Callable[[nn.Module, Any], Tensor]
"""(network, batch) -> scalar, the mean over the batch."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long and how fast to train, and on what share of the data to validate.

    Raises:
        ValueError: a value is out of range.
    """

    batch_size: int = 64
    """Examples of a training step."""

    optimizer: Optimizer = "adamw"
    """"muon": matrices inside the network are trained by Muon (arXiv 2502.16982), at three times the rate; the rest, as
    all with "adamw", by AdamW."""

    learning_rate: float = 1e-3
    """Peak rate; a tenth of the steps of the first epoch warm up, then a cosine falls to a hundredth."""

    weight_decay: float = 0.01
    """Weight decay of AdamW, on matrices only."""

    gradient_clip: float | None = 1.0
    """Largest norm of the gradient of all parameters together; None leaves it free."""

    gate_cost: float = 0.0
    """Price of writing and of forgetting: the mean roots of the memories' step sizes and forget gates, times this and
    exp(-loss), are added to the loss in training. What is recalled then has to be worth its write, and what cannot be
    recalled yet costs nothing. It teaches a memory to keep a few things over texts much longer than those of the
    training (0.8 for recall of one thing); 0 leaves the gates free."""

    average: float | None = None
    """Decay per step of a running average of the weights, which is validated and kept; None: no average."""

    max_epochs: int = 20
    """Passes over the training data at the most."""

    patience: int = 3
    """Epochs without a better validation loss before training stops."""

    max_minutes: float | None = None
    """Training time at the most, by whose end the rate has fallen; None for no limit."""

    validation_fraction: float = 0.1
    """Share of the training data that is held back to validate."""

    random_state: int = 0
    """Seed of the initial weights, dropout and the order of batches: the same seed on the same machine gives the same
    numbers. The command line calls it `--seed`."""

    verbose: bool = False
    """Show progress on standard error: a bar, or a line a minute where it is no terminal."""

    def __post_init__(self) -> None:
        check_whole(1, batch_size=self.batch_size, max_epochs=self.max_epochs, patience=self.patience)
        check_whole(0, random_state=self.random_state)
        if self.optimizer not in get_args(Optimizer):
            raise ValueError(f"optimizer must be one of {', '.join(get_args(Optimizer))}, not {self.optimizer!r}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate!r}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be at least 0, not {self.weight_decay!r}")
        if self.gradient_clip is not None and not 0 < self.gradient_clip < math.inf:
            raise ValueError(f"gradient_clip must be positive or None, not {self.gradient_clip!r}")
        if not 0 <= self.gate_cost < math.inf:
            raise ValueError(f"gate_cost must be at least 0, not {self.gate_cost!r}")
        if self.average is not None and not 0 < self.average < 1:
            raise ValueError(f"average must lie between 0 and 1 or be None, not {self.average!r}")
        if self.max_minutes is not None and not 0 < self.max_minutes < math.inf:
            raise ValueError(f"max_minutes must be positive or None, not {self.max_minutes!r}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must lie between 0 and 1, not {self.validation_fraction!r}")
