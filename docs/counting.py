"""A domain of its own: the next number of sequences of digits, one sequence a line."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.utils.data import DataLoader

from titans_seq.backbone import BackboneConfig, TitansBackbone
from titans_seq.domains.predictor import Predictor, read_column
from titans_seq.domains.registry import Domain
from titans_seq.domains.task import OnEpoch, Task, TaskOptions
from titans_seq.errors import DataError
from titans_seq.estimator import TitansEstimator
from titans_seq.files import digest
from titans_seq.training import TrainingConfig, temporary_seed


@dataclass(frozen=True, kw_only=True)
class CountingConfig:
    """Sizes of the network."""

    digits: int = 10
    """Different numbers, from 0."""

    backbone: BackboneConfig
    """What mixes them."""


class CountingNetwork(nn.Module):
    """Numbers (B, T) to logits (B, T, digits) of each one's successor."""

    def __init__(self, config: CountingConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.digits, config.backbone.dim)
        self.backbone = TitansBackbone(config.backbone)
        self.head = nn.Linear(config.backbone.dim, config.digits)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the logits."""
        h, _ = self.backbone(self.embedding(numbers))
        logits: Tensor = self.head(h)
        return logits


class Counter(
    TitansEstimator,
    configs=(CountingConfig, BackboneConfig, TrainingConfig),
    defaults={"dim": 16, "layers": 1, "heads": 2, "chunk_size": 4, "learning_rate": 1e-2},
):
    """Predict the next number of sequences of the same length."""

    network_: CountingNetwork

    def fit(self, X: Any, y: None = None, on_epoch: Callable[[Self, bool], object] | None = None) -> Self:
        """Learn from sequences (N, T) of numbers; the last of them validate."""
        numbers, config = torch.as_tensor(X), self.check()
        held_back = max(1, int(self.validation_fraction * len(numbers)))
        with temporary_seed(self.random_state):
            network = CountingNetwork(config)
        shuffle = torch.Generator().manual_seed(self.random_state)
        batches = DataLoader(numbers[:-held_back], self.batch_size, shuffle=True, generator=shuffle)
        self.train_network(network, successor_loss, batches, DataLoader(numbers[-held_back:], 64), on_epoch)
        return self

    def predict(self, X: Any) -> Any:
        """Return the next number of each sequence."""
        check_is_fitted(self, "network_")
        with torch.inference_mode():
            return self.network_(torch.as_tensor(X))[:, -1].argmax(-1).numpy()

    def check(self) -> CountingConfig:
        """Return the network that the parameters describe; raise DataError if it cannot be."""
        self.configure(TrainingConfig)
        return self.configure(CountingConfig, backbone=self.configure(BackboneConfig))

    def restore(self, fitted: Any, tensors: dict[str, Tensor]) -> Callable[[], CountingNetwork]:
        """Return how the network of a saved model is built."""
        config = self.check()
        return lambda: CountingNetwork(config)


def successor_loss(network: nn.Module, numbers: Tensor) -> Tensor:
    """Return the cross-entropy of each number's successor."""
    return F.cross_entropy(network(numbers[:, :-1]).flatten(0, 1), numbers[:, 1:].flatten())


def read_sequences(path: Path) -> list[list[int]]:
    """Return the digits of each line; raise DataError if there are none."""
    lines = path.read_text(encoding="utf-8").split() if path.is_file() else []
    if not lines or not all(line.isdigit() and len(line) == len(lines[0]) for line in lines):
        raise DataError(f"{path} must hold lines of equally many digits")
    return [[int(digit) for digit in line] for line in lines]


class CountingTask(Task):
    """Lines of a file, the last of which are held back."""

    def read(self, options: TaskOptions) -> None:
        """Read and split the lines."""
        if options.data is None:
            raise DataError("a file is needed: --data")
        sequences = read_sequences(options.data)
        self.name, self.digest = options.data.name, digest(options.data)
        cut = len(sequences) - max(1, int(options.test_fraction * len(sequences)))
        self.train, self.held_back = sequences[:cut], sequences[cut:]
        self.frame = pd.DataFrame(self.train).add_prefix("n")

    @classmethod
    def estimator(cls) -> Any:
        """Return Counter."""
        return Counter

    def check(self, model: Any) -> None:
        """Raise DataError if a parameter cannot be used."""
        model.check()

    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        """Fit a model."""
        model.fit(self.train, on_epoch=on_epoch)

    def test(self, model: Any) -> dict[str, float]:
        """Return the share of last numbers that are predicted."""
        numbers = torch.tensor(self.held_back)
        return {"accuracy": float((model.predict(numbers[:, :-1]) == numbers[:, -1].numpy()).mean())}


class NextNumber(Predictor):
    """The number behind each line."""

    def __init__(self, folder: Path) -> None:
        self.model = Counter.load(folder)

    def from_file(self, path: Path) -> Any:
        """Return the sequences of a file."""
        return read_sequences(path)

    def from_table(self, table: pd.DataFrame) -> Any:
        """Return the digits of the column `sequence`."""
        return [[int(digit) for digit in str(line)] for line in read_column(table, "sequence")]

    def predict(self, question: Any) -> pd.DataFrame:
        """Return a row per sequence."""
        return pd.DataFrame({"next": self.model.predict(question)})

    def example(self) -> pd.DataFrame:
        """Return two sequences."""
        return pd.DataFrame({"sequence": ["1234", "5678"]})


DOMAIN = Domain(
    name="counting",
    estimator="counting:Counter",
    task="counting:CountingTask",
    predictor="counting:NextNumber",
    space={"memory_depth": "1:2", "learning_rate": "1e-3:3e-2:log"},
)
