"""`python -m benchmarks keeping`: over what distance a memory holds one association, and which initial gates let it.

A key and its value stand in front of noise, and the key is asked for behind it. Lengths of training examples grow from
64 to `trained` tokens; tests go far beyond. Every network is also tested with its writing switched off, which shows how
much of the answers comes through the memory, and its gates are read: half-lives of its heads, and how much it writes at
the association and in the noise. Windowed attention stands beside it; full attention, which sees everything, controls.
"""

import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.by_length import Titles, list_lengths, list_shares, measure
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_doubled, check_options, check_rows, row_backbone

SPREAD = {"half_life": 16.0, "longest_half_life": 100_000.0}
PAPER = {"induction": False, "max_step": 1.0, "forget_to": "zero"}
PRICE = {"gate_cost": 0.8}

MODELS: dict[str, dict[str, Any]] = {
    "lmm, defaults": {},
    "lmm, as in the paper": PAPER,
    "lmm, half-lives spread": SPREAD,
    "lmm, price on gates": PRICE,
    "mac, price on gates": {"variant": "mac", **PRICE},
    "mag, price on gates": {"variant": "mag", **PRICE},
    "mal, price on gates": {"variant": "mal", **PRICE},
    "windowed attention": {"variant": "attention"},
    "full attention": {"variant": "attention", "window": None},
}
"""Changed fields of `BackboneConfig` and `TrainingConfig`, by row."""

PART = 50
"""Steps between two looks at the validation examples."""


@dataclass(frozen=True, kw_only=True)
class Keeping(BenchmarkOptions):
    """Share of associations that are recalled over a distance, by initial gates and backbone, over several seeds."""

    models: tuple[str, ...] = tuple(MODELS)
    """Rows."""
    trained: int = 1024
    """Tokens of the longest training examples, a power of two of at least 64."""
    distances: tuple[int, ...] = (64, 512, 2048, 8192, 16_384)
    """Tokens of noise between the association and its key in the tests."""
    dim: int = 64
    """Width; 2 layers, 2 heads."""
    window: int = 32
    """Tokens that attention sees, with and without a memory beside it."""
    chunk_size: int = 16
    """Of the memory."""
    steps: int = 300
    """Training steps."""
    tokens: int = 4096
    """Of a step."""
    learning_rate: float = 3e-3
    """Peak rate."""
    tests: int = 64
    """Examples of each distance."""
    seeds: int = 3
    """Runs of each."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        from benchmarks.association import SHORTEST, VALUES

        check_options(self, "dim", "window", "tokens", "seeds", "steps", "chunk_size", "tests")
        check_rows(self, MODELS, "distances")
        check_doubled(self, "trained", SHORTEST)
        for model in self.models:
            self.backbone(model)
        titles = Titles(
            f"associations recalled, trained on up to {self.trained:,} tokens", "% recalled by tokens of noise",
            "tokens of noise", 1 / VALUES,
        )  # fmt: skip
        return measure(self, "keeping", tuple(MODELS), "recalled", titles)

    def backbone(self, model: str) -> Any:
        """Return the configuration of a row."""
        return row_backbone(self, ("dim", "window", "chunk_size"), {"layers": 2, **MODELS[model]})

    def once(self, model: str, seed: int) -> dict[str, Any]:
        """Train and test one network."""
        from benchmarks.association import VOCABULARY, Associations, associations
        from titans_seq.domains.language.recall import RecallNetwork, recall_accuracy, recall_loader, recall_loss
        from titans_seq.memory.record import without_writes
        from titans_seq.training import TrainingConfig, temporary_seed, train

        part = min(PART, self.steps)
        epochs = -(-self.steps // part)
        with temporary_seed(seed):
            network = RecallNetwork(self.backbone(model), VOCABULARY)
        history = train(
            network,
            recall_loss,
            recall_loader(Associations(self.trained, self.tokens, part, epochs, 3 * seed)),
            recall_loader([associations(64, self.trained, 3 * seed + 1)]),
            TrainingConfig(
                max_epochs=epochs, patience=epochs, learning_rate=self.learning_rate, random_state=seed,
                gate_cost=MODELS[model].get("gate_cost", 0.0), verbose=sys.stderr.isatty(),
            ),
        )  # fmt: skip
        started, recalled = time.perf_counter(), dict[str, float]()
        for distance in self.distances:
            examples = associations(self.tests, distance + 3, 3 * seed + 2)
            recalled[str(distance)] = recall_accuracy(network, examples, batch=16)
        examples = associations(self.tests, self.trained, 3 * seed + 2)
        with without_writes(network):
            silent = recall_accuracy(network, examples)
        return {
            "recalled": recalled,
            "recalled_without_writes": silent,
            "gates": read_gates(network, examples),
            "validation_loss": history.validation_loss,
            "steps": part * len(history.train_loss),
            "parameters": sum(p.numel() for p in network.parameters()),
            "seconds": history.seconds,
            "test_seconds": time.perf_counter() - started,
        }


def read_gates(network: Any, examples: Any) -> list[dict[str, Any]]:
    """Return of each memory the half-lives of its heads, and their mean step sizes at the association and elsewhere."""
    import torch

    from titans_seq.memory.gates import half_life
    from titans_seq.memory.record import record_gates

    with record_gates(network) as calls, torch.no_grad():
        network(examples.tokens, torch.ones_like(examples.tokens, dtype=torch.bool))
    found = []
    for memory in dict.fromkeys(call.memory for call in calls):
        own = [call for call in calls if call.memory is memory]
        theta, alpha = (torch.cat([getattr(c, name) for c in own], 1) for name in ("step_size", "forget"))
        found.append(
            {
                "half_lives": half_life(alpha.mean((0, 1))).clamp_max(1e9).tolist(),
                "step_at_pair": theta[:, :3].mean((0, 1)).tolist(),
                "step_in_noise": theta[:, 3:].mean((0, 1)).tolist(),
            }
        )
    return found


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    found = result["summary"]
    what = (
        f"one association behind {list_lengths(found)} tokens of noise, trained on up to "
        f"{result['settings']['trained']:,}; % recalled"
    )
    return [Figure(what, *list_shares(found))]
