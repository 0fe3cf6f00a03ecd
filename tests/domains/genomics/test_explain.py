"""Mutagenesis against one mutant at a time; surprise against the memory's own; the pictures."""

import numpy as np
import pytest
import torch

from tests.domains.genomics.conftest import MOTIF, SMALL
from titans_seq.domains.genomics import TitansDNAClassifier
from titans_seq.domains.genomics.mutagenesis import log_odds, mutagenesis
from titans_seq.domains.genomics.plots import plot_curves, plot_explanation
from titans_seq.domains.genomics.surprise import surprise
from titans_seq.errors import DataError


def test_every_substitution_is_that_of_the_mutant(stranded):
    sequence = "ACGTNTGACTCAGCATT"
    table = mutagenesis(stranded, sequence, "none")
    assert table["letter"].tolist() == list(sequence)
    assert table["position"].tolist() == list(range(1, 18))
    own = log_odds(stranded.predict_logits([sequence]))[0, 1]
    for place in range(len(sequence)):
        for letter in "ACGT":
            mutant = sequence[:place] + letter + sequence[place + 1 :]
            expected = log_odds(stranded.predict_logits([mutant]))[0, 1] - own
            assert table.loc[place, letter] == pytest.approx(expected, abs=1e-5)


def test_the_planted_motif_matters_most(fitted):
    rng = np.random.default_rng(3)
    sequence = "".join(rng.choice(list("ACGT"), 60))
    sequence = sequence[:25] + MOTIF + sequence[35:]
    weight = -mutagenesis(fitted, sequence, "motif")[list("ACGT")].to_numpy().sum(1)
    assert weight[25:35].mean() > np.quantile(np.delete(weight, range(25, 35)), 0.8)


def test_log_odds():
    logits = np.log(np.array([[0.2, 0.3, 0.5], [0.8, 0.1, 0.1]]))
    np.testing.assert_allclose(log_odds(logits), np.log([[0.25, 3 / 7, 1], [4, 1 / 9, 1 / 9]]))


def test_surprise_is_the_memorys_on_both_strands(fitted):
    sequence = "ACGTTGCAACGGT" * 3  # 39 letters, 10 tokens of 4
    table = surprise(fitted, sequence)
    assert table["start"].tolist() == list(range(1, 40, 4))
    assert table["end"].tolist() == [*range(4, 40, 4), 39]
    network = fitted.network_
    codes = torch.tensor([["ACGT".index(c) for c in sequence]])
    memory = network.mixer.backbone.blocks[0].memory.memory
    with torch.no_grad():
        expected = memory.surprise(network.embed(codes)[0])[0].mean(-1)
        other = memory.surprise(network.embed(3 - codes.flip(1))[0])[0].mean(-1).numpy()
    np.testing.assert_allclose(table["forward"], expected, rtol=1e-5)
    letters = np.repeat(other, 4)[:39][::-1]
    np.testing.assert_allclose(table["reverse"], [letters[i : i + 4].mean() for i in range(0, 39, 4)], rtol=1e-5)


def test_what_cannot_be_explained(fitted, examples):
    with pytest.raises(DataError, match="more than 10,000"):
        mutagenesis(fitted, "ACGT" * 3000)
    with pytest.raises(DataError, match="no class 'other'; the model has motif, none"):
        mutagenesis(fitted, "ACGTACGTACGTACGTACGT", "other")
    model = TitansDNAClassifier(variant="none", **SMALL | {"max_epochs": 1}).fit(*examples)
    with pytest.raises(DataError, match="surprise needs a model of variant lmm, not none"):
        surprise(model, "ACGT")


def test_pictures(tmp_path, fitted, examples):
    table = mutagenesis(fitted, examples[0][0])
    plot_explanation(tmp_path / "a.png", table, surprise(fitted, examples[0][0]), "title $x$")
    plot_explanation(tmp_path / "b.png", table, None, "title")
    truth, shares = np.array(examples[1]), fitted.predict_proba(examples[0])
    plot_curves(tmp_path / "c.png", truth, {"a": shares, "b": 1 - shares}, fitted.classes_, "$")
    three = np.random.default_rng(0).dirichlet([1, 1, 1], 9)
    plot_curves(tmp_path / "d.png", np.array([0, 1, 2] * 3), {"a": three}, np.arange(3), "three")
    assert all(p.read_bytes()[:4] == b"\x89PNG" for p in tmp_path.iterdir())
