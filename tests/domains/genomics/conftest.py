"""Planted motifs, and small classifiers that have learned them."""

import numpy as np
import pytest

from titans_seq.domains.genomics import TitansDNAClassifier

MOTIF = "TGACTCAGCA"
SMALL = {
    "dim": 16,
    "heads": 2,
    "motifs": 16,
    "chunk_size": 8,
    "strand": "both",
    "pool": 4,
    "sections": 0,
    "kmer_size": 3,
    "max_epochs": 6,
    "batch_size": 16,
    "learning_rate": 5e-3,
}


def planted(count, seed=0, lengths=(30, 90)):
    """Sequences, half of them with a motif on either strand, and their classes."""
    rng = np.random.default_rng(seed)
    sequences, labels = [], []
    for i in range(count):
        letters = rng.choice(list("ACGT"), rng.integers(*lengths))
        if i % 2:
            motif = MOTIF if i % 4 == 1 else MOTIF.translate(str.maketrans("ACGT", "TGCA"))[::-1]
            place = rng.integers(0, len(letters) - len(motif) + 1)
            letters[place : place + len(motif)] = list(motif)
        sequences.append("".join(letters))
        labels.append("motif" if i % 2 else "none")
    return sequences, labels


@pytest.fixture(scope="session")
def examples():
    return planted(240)


@pytest.fixture(scope="session")
def fitted(examples):
    return TitansDNAClassifier(**SMALL).fit(*examples)


@pytest.fixture(scope="session")
def stranded(examples):
    return TitansDNAClassifier(**SMALL | {"strand": "given", "max_epochs": 2}).fit(*examples)
