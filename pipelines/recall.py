"""`titans-seq bench recall`: associative recall with a memory, without one, and without each part of it.

Every model sees the same examples in the same order, and each learning rate of the list; the rate with the lowest
validation loss counts, whatever the test examples say. Half of the training examples hold as many pairs as their length
has room for, so that they teach more; validation and test examples are those of the task. Training stops early at a
validation loss of 0.03. Backbones that are compared have as many parameters as the hybrid: their gated MLP is widened.
"""

import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from titans_seq.errors import DataError
from titans_seq.pipelines.environment import describe
from titans_seq.pipelines.ledger import Ledger
from titans_seq.pipelines.output import claim_results, plain_table, write_result

if TYPE_CHECKING:
    from titans_seq.backbone import BackboneConfig

TASKS: dict[str, dict[str, int]] = {
    "MQAR (64, 4)": {"length": 64, "pairs": 4},
    "MQAR (128, 8)": {"length": 128, "pairs": 8},
    "ForgettingMQAR (64, 4 + 4)": {"length": 64, "pairs": 4, "rewrites": 4},
}
"""Name -> fields of `RecallTask`."""

MODELS: dict[str, dict[str, Any]] = {
    "lmm": {"variant": "lmm"},
    "mag": {"variant": "mag"},
    "sliding-window attention": {"variant": "attention"},
}

ABLATION: dict[str, dict[str, Any]] = {
    "lmm": {"variant": "lmm"},
    "linear memory (depth 1)": {"variant": "lmm", "memory_depth": 1},
    "without momentum": {"variant": "lmm", "momentum": False},
    "without forgetting": {"variant": "lmm", "forget": False},
    "without convolution": {"variant": "lmm", "conv_kernel": 1},
    "with 4 persistent tokens": {"variant": "lmm", "persistent_tokens": 4},
}
"""Rows of the paper's ablation, each one changed field of the first."""


@dataclass(frozen=True, kw_only=True)
class RecallBench:
    """Accuracy on associative recall tasks over several seeds, in one run."""

    table: Literal["models", "ablation"] = "models"
    """The backbones on every task, or the parts of the memory on the one with overwritten keys."""
    tasks: tuple[str, ...] = ()
    """Tasks whose names contain one of these; none: all of the table."""
    dim: int = 64
    """Width; 2 layers, 2 heads."""
    window: int = 32
    """Tokens that attention sees, with and without a memory beside it."""
    chunk_size: int = 32
    """Of the memory."""
    initial_step: float = 0.05
    """The memory's step size before training."""
    steps: int = 700
    """Training steps at the most."""
    batch: int = 64
    """Examples of a step."""
    examples: int = 100_000
    """Training examples."""
    learning_rates: tuple[float, ...] = (6e-3,)
    """Tried one after the other."""
    seeds: int = 3
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""
    output: Path | None = None
    """Folder for a dated JSON file; an interrupted run with the same settings goes on there. None writes nothing."""
    json: bool = False
    """Print the result as JSON on standard output instead of a table."""

    def run(self) -> dict[str, Any]:
        """Do it; returns what the JSON file holds."""
        claim_results(self, "dim", "window", "chunk_size", "steps", "batch", "examples", "seeds")
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise DataError(f"learning-rates must be positive, not {self.learning_rates}")
        models = MODELS if self.table == "models" else ABLATION
        names = list(TASKS) if self.table == "models" else [list(TASKS)[-1]]
        names = [name for name in names if not self.tasks or any(wanted in name for wanted in self.tasks)]
        if not names:
            raise DataError(f"no task's name contains {' or '.join(self.tasks)}")
        settings = {k: v for k, v in asdict(self).items() if k not in ("tasks", "output", "json", "seeds", "seed")}
        ledger = Ledger(self.output, f"recall-{self.table}", settings)
        rows = []
        for task in names:
            for model, changes in models.items():
                config = self.backbone(changes)
                for seed in range(self.seed, self.seed + self.seeds):
                    key = {"task": task, "model": model, "seed": seed}
                    rows.append(ledger.find(**key) or ledger.add({**key, **self.best(task, config, seed)}))
                    if not self.json:
                        print(f"{task}, {model}, seed {seed}: {rows[-1]['accuracy']:.4f}", file=sys.stderr)
        result: dict[str, Any] = {
            "benchmark": f"recall-{self.table}",
            "settings": settings,
            "summary": summary(rows),
            "runs": rows,
            **describe(),
        }
        write_result(self.output, result["benchmark"], result)
        ledger.close()
        if not self.json:
            cells = {
                m: {t: f"{100 * s['accuracy']:.2f} ± {100 * s['spread']:.2f} %" for t, s in of.items()}
                for m, of in result["summary"].items()
            }
            plain_table(f"answers that are right, {self.seeds} seeds, mean and standard deviation", cells)
        return result

    def backbone(self, changes: dict[str, Any]) -> "BackboneConfig":
        """The configuration of a row; in the table of models all have the parameters of the hybrid."""
        from titans_seq.backbone import BackboneConfig
        from titans_seq.backbone.presets import parameters, sized

        try:
            size: dict[str, Any] = {"layers": 2, "heads": 2, "mlp_expansion": 1, "memory_expansion": 1} | {
                name: getattr(self, name) for name in ("dim", "window", "chunk_size", "initial_step")
            }
            hybrid, config = (BackboneConfig(**size, **c) for c in (MODELS["mag"], changes))
            return sized(config, parameters(hybrid)) if self.table == "models" else config
        except ValueError as error:
            raise DataError(str(error)) from error

    def best(self, task: str, config: "BackboneConfig", seed: int) -> dict[str, Any]:
        """One model at every learning rate; the figures of the one with the lowest validation loss."""
        runs = [self.once(task, config, seed, rate) for rate in self.learning_rates]
        return min(runs, key=lambda run: run["validation_loss"])

    def once(self, name: str, config: "BackboneConfig", seed: int, rate: float) -> dict[str, Any]:
        """Train and test one model."""
        import torch

        from titans_seq.domains.language.mqar import Recall, RecallTask, recall_examples
        from titans_seq.domains.language.recall import RecallNetwork, recall_accuracy, recall_loader, recall_loss
        from titans_seq.training import TrainingConfig, seeded, train

        started = time.perf_counter()
        task = RecallTask(**TASKS[name])
        an_epoch = self.batch * max(1, min(100, self.steps // 2))
        epochs = max(1, self.steps * self.batch // an_epoch)
        half = -(-self.examples // 2)
        full, training, validation, test = (
            recall_examples(t, count, 10 * seed + part)
            for part, (t, count) in enumerate(((task.filled(), half), (task, half), (task, 1000), (task, 3000)))
        )
        training = Recall(*(torch.cat(both) for both in zip(training, full, strict=True)))
        with seeded(seed):
            network = RecallNetwork(config, task.vocabulary)
        history = train(
            network,
            recall_loss,
            recall_loader(training, self.batch, an_epoch, seed),
            recall_loader(validation, 250, None, seed),
            TrainingConfig(max_epochs=epochs, patience=epochs, learning_rate=rate, stop_below=0.03, seed=seed),
        )
        return {
            "accuracy": recall_accuracy(network, test),
            "learning_rate": rate,
            "validation_loss": min(history.validation_loss),
            "steps": len(history.validation_loss) * an_epoch // self.batch,
            "parameters": sum(p.numel() for p in network.parameters()),
            "seconds": time.perf_counter() - started,
        }


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Model -> task -> mean and standard deviation of the accuracy over the seeds."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for model, task in dict.fromkeys((row["model"], row["task"]) for row in rows):
        values = [row["accuracy"] for row in rows if (row["model"], row["task"]) == (model, task)]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        found.setdefault(model, {})[task] = {"accuracy": statistics.mean(values), "spread": spread}
    return found
