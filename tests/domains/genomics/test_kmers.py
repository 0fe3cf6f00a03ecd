"""k-mers: their numbers, their counts, and the regression that a network starts from."""

import numpy as np
import torch
from Bio.Seq import Seq
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from titans_seq.domains.genomics import SequenceEncoder
from titans_seq.domains.genomics.encoder import encode_sequences
from titans_seq.domains.genomics.kmer_logits import INVERSE_PENALTIES, KmerLogits
from titans_seq.domains.genomics.kmers import count_kmers, number_kmers


def test_counts_of_a_sequence():
    counts = count_kmers(encode_sequences(["AACAAC", "ANAC", "A"]), 2).toarray()
    assert counts[0].nonzero()[0].tolist() == [0, 1, 4]  # AA, CA, AC: the first letter counts 1, the second 4
    assert counts[0][[0, 4, 1]].tolist() == [2, 2, 1]
    assert counts[1].sum() == 1
    assert counts[2].sum() == 0


@given(st.lists(st.text("ACGTN", min_size=1, max_size=40), min_size=1, max_size=6), st.integers(1, 12), st.booleans())
def test_numbers_are_those_of_each_sequence_alone(sequences, size, canonical):
    def number(kmer):
        return sum("ACGT".index(letter) * 4**i for i, letter in enumerate(kmer))

    expected = []
    for owner, sequence in enumerate(sequences):
        for kmer in (sequence[i : i + size] for i in range(len(sequence) - size + 1)):
            if "N" not in kmer:
                other = str(Seq(kmer).reverse_complement())
                expected.append((min(number(kmer), number(other)) if canonical else number(kmer), owner))
    numbers, owners = number_kmers(encode_sequences(sequences), size, canonical)
    assert list(zip(numbers.tolist(), owners.tolist(), strict=True)) == expected


def test_starts_from_logistic_regression(examples):
    """The linear way alone is scikit-learn's regression on the shares of k-mers."""
    rows, y = encode_sequences(examples[0]), np.array([label == "motif" for label in examples[1]]).astype(int)
    kmers = KmerLogits(2, 2)
    kmers.fit_regression((rows, y), (rows, y), None, False)
    shares = count_kmers(rows, 2).toarray()
    shares /= shares.sum(1, keepdims=True)
    scaled = shares / shares.std(0)
    model = LogisticRegression(C=max(INVERSE_PENALTIES), max_iter=300, tol=1e-8).fit(scaled, y)
    got = kmers(torch.from_numpy(SequenceEncoder().transform(examples[0])).long())
    np.testing.assert_allclose((got[:, 1] - got[:, 0]).numpy(), model.decision_function(scaled), atol=1e-2)


def test_training_sequences_are_judged_unseen():
    """Labels of chance: a regression knows what it was fitted to, and nothing of what it was not."""
    rng = np.random.default_rng(0)
    rows = encode_sequences(["".join(rng.choice(list("ACGT"), 30)) for _ in range(200)])
    y = rng.permutation(np.arange(200) % 2)
    kmers = KmerLogits(4, 2)
    unseen = kmers.fit_regression((rows, y), (rows, y), None, False)
    seen = kmers(torch.from_numpy(np.stack(rows)).long())
    assert unseen.shape == (200, 2)
    assert roc_auc_score(y, seen[:, 1] - seen[:, 0]) > 0.95
    assert abs(roc_auc_score(y, unseen[:, 1] - unseen[:, 0]) - 0.5) < 0.15


def test_a_class_of_one_sequence_leaves_no_part_out():
    part = encode_sequences(["ACGT", "AACC", "GGTT"]), np.array([0, 0, 1])
    assert not KmerLogits(1, 2).fit_regression(part, part, None, True).any()
