"""`python -m benchmarks recall`: associative recall with a memory, without one, and without each part of it.

A network learns all tasks together and is tested on each of them; overwritten keys come alone at first. Half of the
training examples hold as many pairs as their length has room for, so that they teach more; validation and test examples
are the tasks' own. All networks see the same examples in the same order. Backbones that are compared have as many
parameters as the hybrid: their gated MLP is widened.
"""

import math
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from benchmarks.figure import Figure
from benchmarks.ledger import measure_models
from benchmarks.options import BenchmarkOptions, check_options
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table
from titans_seq.spread import format_spread, mean_and_spread

if TYPE_CHECKING:
    from titans_seq.backbone import BackboneConfig


Task = Literal["MQAR (64, 4)", "MQAR (128, 8)", "MQAR (256, 16)", "ForgettingMQAR (64, 4 + 4)"]
TASKS: dict[Task, dict[str, int]] = {
    "MQAR (64, 4)": {"length": 64, "pairs": 4},
    "MQAR (128, 8)": {"length": 128, "pairs": 8},
    "MQAR (256, 16)": {"length": 256, "pairs": 16},
    "ForgettingMQAR (64, 4 + 4)": {"length": 64, "pairs": 4, "rewrites": 4},
}
"""Name -> fields of `RecallTask`: pairs that are shown once; pairs that are all shown again with another value."""

MODELS: dict[str, dict[str, Any]] = {
    "lmm": {"variant": "lmm"},
    "mac": {"variant": "mac"},
    "mag": {"variant": "mag"},
    "mal": {"variant": "mal"},
    "sliding-window attention": {"variant": "attention"},
}

ABLATION: dict[str, dict[str, Any]] = {
    "lmm": {"variant": "lmm"},
    "keys of the token itself": {"variant": "lmm", "induction": False},
    "free steps": {"variant": "lmm", "max_step": 1.0},
    "forgetting to zero": {"variant": "lmm", "forget_to": "zero"},
    "linear memory (depth 1)": {"variant": "lmm", "memory_depth": 1},
    "without momentum": {"variant": "lmm", "momentum": False},
    "without forgetting": {"variant": "lmm", "forget": False},
    "without convolution": {"variant": "lmm", "conv_kernel": 1},
    "with 4 persistent tokens": {"variant": "lmm", "persistent_tokens": 4},
}
"""Rows of the paper's ablation and what differs from the paper, each one changed field of the first."""

PART = 100
"""Steps between two looks at the validation examples."""


ALONE = 300
"""First steps on overwritten keys alone, if they are among the tasks."""


@dataclass(frozen=True, kw_only=True)
class Recall(BenchmarkOptions):
    """Accuracy on associative recall tasks over several seeds, in one run."""

    table: Literal["models", "ablation"] = "models"
    """The backbones, or the parts of the memory."""
    tasks: tuple[Task, ...] = get_args(Task)
    """What one network learns together; (length, pairs), or (length, pairs + values that are overwritten)."""
    dim: int = 64
    """Width; 2 layers, 1 head."""
    window: int = 32
    """Tokens that attention sees, with and without a memory beside it."""
    chunk_size: int = 4
    """Of the memory: what is overwritten must have been written before, a chunk ago at the least."""
    steps: int = 1000
    """Training steps."""
    tokens: int = 4096
    """Of a step."""
    learning_rate: float = 4e-3
    """Peak rate."""
    tests: int = 3000
    """Examples of each task."""
    seeds: int = 3
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "dim", "window", "tokens", "seeds", "steps", "chunk_size", "tests")
        if not self.tasks:
            raise DataError("tasks must name at least one")
        if not self.learning_rate > 0:
            raise DataError(f"learning-rate must be positive, not {self.learning_rate}")
        models = MODELS if self.table == "models" else ABLATION
        for changes in models.values():
            self.backbone(changes)  # every setting is checked before hours of work
        some = () if set(self.tasks) == set(TASKS) else self.tasks
        name = re.sub(r"\W+", "-", " ".join(("recall", self.table, *some))).lower().rstrip("-")

        def line(row: dict[str, Any]) -> str:
            return ", ".join(f"{task} {share:.2%}" for task, share in row["accuracy"].items())

        ledger = measure_models(self, name, models, lambda model, seed: self.once(models[model], seed), line)
        result = ledger.finish(summary=summary(ledger.rows))
        if not self.json:
            cells = {
                m: {t: format_spread(100 * s["accuracy"], 100 * s["spread"], 2) for t, s in of.items()}
                for m, of in result["summary"].items()
            }
            plain_table(f"% of answers that are right, {self.seeds} seeds, mean and standard deviation", cells)
        return result

    def backbone(self, changes: dict[str, Any]) -> "BackboneConfig":
        """Return the configuration of a row; in the table of models all have the parameters of the hybrid."""
        from titans_seq.backbone import BackboneConfig
        from titans_seq.backbone.presets import count_parameters, fit_parameters

        try:
            size: dict[str, Any] = {"layers": 2, "heads": 1, "mlp_expansion": 1, "memory_expansion": 1}
            size |= {n: getattr(self, n) for n in ("dim", "window", "chunk_size")}
            hybrid, config = (BackboneConfig(**size, **c) for c in (MODELS["mag"], changes))
            return fit_parameters(config, count_parameters(hybrid)) if self.table == "models" else config
        except ValueError as error:
            raise DataError(str(error)) from error

    def once(self, changes: dict[str, Any], seed: int) -> dict[str, Any]:
        """Train one network on the tasks and test it on each of them."""
        from titans_seq.domains.language.mqar import RecallTask, recall_examples
        from titans_seq.domains.language.recall import (
            RecallMixture,
            RecallNetwork,
            recall_accuracy,
            recall_loader,
            recall_loss,
        )
        from titans_seq.training import TrainingConfig, temporary_seed, train

        tasks = {name: RecallTask(**TASKS[name]) for name in self.tasks}
        config = self.backbone(changes)
        part = min(PART, self.steps)
        epochs = -(-self.steps // part)
        with temporary_seed(seed):
            network = RecallNetwork(config, next(iter(tasks.values())).vocabulary)
        history = train(
            network,
            recall_loss,
            recall_loader(RecallMixture(list(tasks.values()), self.tokens, part, 3 * seed, ALONE)),
            recall_loader([recall_examples(task, min(500, self.tests), 3 * seed + 1) for task in tasks.values()]),
            TrainingConfig(
                max_epochs=epochs, patience=epochs, learning_rate=self.learning_rate, random_state=seed,
                verbose=sys.stderr.isatty(),
            ),
        )  # fmt: skip
        return {
            "accuracy": {
                name: recall_accuracy(network, recall_examples(task, self.tests, 3 * seed + 2))
                for name, task in tasks.items()
            },
            "validation_loss": history.validation_loss,
            "steps": part * len(history.train_loss),
            "parameters": sum(p.numel() for p in network.parameters()),
            "seconds": history.seconds,
        }


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by model and task, mean and standard deviation of the accuracy over the seeds."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        for task in row["accuracy"]:
            values = [r["accuracy"][task] for r in rows if r["model"] == row["model"]]
            mean, spread = mean_and_spread(values)
            found.setdefault(row["model"], {})[task] = {"accuracy": mean, "spread": spread}
    return found


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    found, settings = result["summary"], result["settings"]
    steps = f", {settings['steps']:,} steps" if settings.get("steps") else ""
    rows = []
    for task in next(iter(found.values())):
        cells = {
            m: format_spread(100 * of[task]["accuracy"], 100 * (of[task]["spread"] or math.nan), 2)
            for m, of in found.items()
        }
        attention = "sliding-window attention"
        own = ", ".join(f"{model} {cell}" for model, cell in cells.items() if model != attention)
        beside = f"{attention} of the same size {cells[attention]}" if attention in cells else ""
        rows.append(Figure(f"{task}{steps}, % of answers that are right", own, beside))
    return rows
