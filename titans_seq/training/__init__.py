"""The one training path of every domain: a network, a loss, batches, and what is kept of them."""

from titans_seq.training.config import LossFunction, TrainingConfig
from titans_seq.training.history import History
from titans_seq.training.seed import temporary_seed
from titans_seq.training.train import train

__all__ = ["History", "LossFunction", "TrainingConfig", "temporary_seed", "train"]
