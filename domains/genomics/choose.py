"""How sequences are best read, found on the validation sequences: strands, places along the sequence, pooling.

Axes: N sequences, K classes.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from titans_seq.domains.genomics.alphabet import Rows
from titans_seq.domains.genomics.fitting import Examples, predict_logits, training_loaders
from titans_seq.domains.genomics.network import DNANetwork
from titans_seq.progress import show_progress
from titans_seq.stored import Stored
from titans_seq.training import LossFunction, TrainingConfig, temporary_seed, train

MOST = 30_000
"""Sequences that train each candidate, and that judge it, at the most."""
STEPS, MOST_EPOCHS = 300, 8
"""Steps of each candidate, about, and passes at the most; those of the training itself are never exceeded."""
SHARE = 0.3
"""Part of `max_minutes` after which no further candidate is tried."""
ALIKE = 0.9
"""Shortest length as a share of the longest, from which on sequences may be aligned."""
SHORT = 160
"""Letters of the median sequence up to which a token has 2 letters, where they are read closely."""
MOST_SECTIONS = 64
"""Places along a sequence at the most."""


class Reading(Stored):
    """How a network reads sequences; see the fields of `DNAConfig` of the same names."""

    strand: Literal["both", "given"] = "both"
    pool: int = 8
    sections: int = 0
    motifs: int = 64


@dataclass(frozen=True)
class Trial:
    """A candidate and what came of it."""

    reading: Reading
    losses: NDArray[np.float64]
    """Cross-entropy of each validation sequence (N,), in nats."""


def candidates(rows: Rows, fixed: Mapping[str, Any]) -> list[Reading]:
    """Return ways to read sequences, the plainest first.

    Sequences of like length may be aligned, so that a place along them means the same in all of them.

    Args:
        rows: the training sequences.
        fixed: fields that the user has set.
    """
    lengths = np.array([len(row) for row in rows])
    plain, pool = Reading(), usual_pool(rows)
    found = [plain, replace_reading(plain, strand="given")]
    if lengths.min() >= ALIKE * lengths.max():
        sections = min(MOST_SECTIONS, -(-int(np.median(lengths)) // pool))  # finer learns slower at first, and more
        found.append(Reading(strand="given", pool=pool, sections=sections))
    else:
        found.append(Reading(strand="given", pool=pool))
    return list(dict.fromkeys(replace_reading(reading, **fixed) for reading in found))


def usual_pool(rows: Rows) -> int:
    """Return the letters of a token that suit sequences that are read closely."""
    return 2 if np.median([len(row) for row in rows]) <= SHORT else 4


def replace_reading(reading: Reading, **changes: Any) -> Reading:
    """Return a reading with other values."""
    return reading.model_copy(update=changes)


def choose_reading(
    options: list[Reading],
    build: Callable[[Reading], DNANetwork],
    loss: LossFunction,
    training: Examples,
    validation: Examples,
    config: TrainingConfig,
) -> Reading:
    """Return the reading whose network, trained for about 300 steps, has the lowest validation loss.

    The plainest is left only for one that is better by more than two standard errors.

    Args:
        options: the plainest first.
        build: returns an untrained network without k-mers.
    """
    if len(options) == 1:
        return options[0]
    training, validation = (part.sample(MOST, config.random_state) for part in (training, validation))
    steps = -(-len(training) // config.batch_size)
    short = replace(config, max_epochs=min(MOST_EPOCHS, config.max_epochs, max(1, round(STEPS / steps))), verbose=False)
    trials: list[Trial] = []
    began = time.perf_counter()
    for reading in show_progress(options, "choosing how to read", config.verbose):
        spent = (time.perf_counter() - began) / 60
        if trials and config.max_minutes is not None and spent > SHARE * config.max_minutes:
            break
        with temporary_seed(config.random_state):
            network = build(reading)
        train(network, loss, *training_loaders(training, validation, config.batch_size, config.random_state), short)
        logits = torch.from_numpy(predict_logits(network, validation.rows)).double()
        losses: NDArray[np.float64] = F.cross_entropy(logits, validation.classes, reduction="none").numpy()
        trials.append(Trial(reading, losses))
    return best_trial(trials).reading


def best_trial(trials: list[Trial]) -> Trial:
    """Return the trial of lowest loss; the first one, unless that is better by more than two standard errors."""
    best = min(trials, key=lambda trial: float(trial.losses.mean()))
    gain = trials[0].losses - best.losses
    error = float(gain.std()) / max(1, len(gain)) ** 0.5
    return best if float(gain.mean()) > 2 * error else trials[0]
