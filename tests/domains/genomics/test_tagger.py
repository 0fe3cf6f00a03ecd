"""The tagger: what it learns, that neither pieces nor strands nor padding change it, and what it refuses."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from titans_seq import TitansDNAClassifier
from titans_seq.domains.genomics.alphabet import reverse_complement
from titans_seq.domains.genomics.stream import Stretch
from titans_seq.domains.genomics.tag_network import stop_distances
from titans_seq.domains.genomics.tagger import TitansDNATagger
from titans_seq.errors import DataError, ModelError

SMALL = {"dim": 16, "layers": 1, "heads": 2, "segment": 192, "flank": 48, "chunk_size": 8, "batch_size": 4,
         "reading_frames": False, "word": 0}  # fmt: skip


def far(count=12, size=1200, seed=0):
    """Letters whose class is told by a word that stands up to 60 letters before, on this strand: a switch."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for _ in range(count):
        letters, classes, state = rng.integers(0, 4, size), np.zeros(size, dtype=int), 0
        for place in range(0, size, 60):
            state = int(rng.integers(2))
            letters[place : place + 10] = [[0, 2, 3, 1, 0, 0, 2, 3, 3, 1], [3, 3, 2, 0, 1, 2, 2, 0, 1, 3]][state]
            classes[place : place + 60] = state
        X.append("".join("ACGT"[k] for k in letters))
        y.append(classes)
    return X, y


@pytest.fixture(scope="module")
def fitted():
    return TitansDNATagger(**SMALL, strand="given", max_epochs=10, learning_rate=1e-2).fit(*far())


@pytest.fixture(scope="module")
def both():
    return TitansDNATagger(**SMALL, max_epochs=2).fit(*far(3))


def test_a_word_far_before_a_letter_is_remembered(fitted):
    X, y = far(3, seed=1)
    assert np.mean([(p == t).mean() for p, t in zip(fitted.predict(X), y, strict=True)]) > 0.95
    plain = TitansDNATagger(**SMALL, strand="given", max_epochs=10, learning_rate=1e-2, variant="none").fit(*far())
    assert np.mean([(p == t).mean() for p, t in zip(plain.predict(X), y, strict=True)]) < 0.8


@pytest.mark.parametrize("seed", range(5))
def test_pieces_change_nothing(both, seed):
    rng = np.random.default_rng(seed)
    row = rng.integers(0, 5, int(rng.integers(1, 2500))).astype(np.uint8)
    cuts = [0, *sorted(rng.integers(0, len(row), rng.integers(0, 9)).tolist()), len(row)]
    stretches = [Stretch("a", a, row[a:b], b == len(row)) for a, b in pairwise(cuts)]
    found = list(both.stream(stretches))
    assert [start for _, start, _ in found] == list(np.cumsum([0] + [len(p) for _, _, p in found])[:-1])
    (whole,) = both.predict_proba(["".join("ACGTN"[k] for k in row)])
    assert whole.shape == (len(row), 2)
    np.testing.assert_allclose(np.concatenate([p for _, _, p in found]), whole, atol=1e-5)


def test_strands_and_padding(both):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (2, 96)).astype(np.uint8)
    with torch.inference_mode():
        logits = both.network_(torch.from_numpy(codes))
        other = both.network_(torch.from_numpy(reverse_complement(codes)))
        torch.testing.assert_close(other.flip(1), logits, atol=1e-5, rtol=0)
        padded = np.full((2, 150), 5, np.uint8)
        padded[0, :96], padded[1] = codes[0], rng.integers(0, 4, 150)
        torch.testing.assert_close(both.network_(torch.from_numpy(padded))[0, :96], logits[0], atol=1e-5, rtol=0)


def test_long_records_need_no_more_room(both):
    """A million letters in stretches: what is kept is some segments."""
    kept = []

    def stretches():
        rng = np.random.default_rng(0)
        for k in range(40):
            yield Stretch("a", 5000 * k, rng.integers(0, 4, 5000).astype(np.uint8), k == 39)

    total = 0
    for _, start, shares in both.stream(stretches()):
        total += len(shares)
        kept.append(start)
    assert total == 200_000
    assert kept == sorted(kept)


def test_saved_models_are_the_same(both, tmp_path):
    again = TitansDNATagger.load(both.save(tmp_path / "m"))
    X, _ = far(1, 500, 3)
    np.testing.assert_array_equal(again.predict_proba(X)[0], both.predict_proba(X)[0])
    assert again.predict(X)[0].tolist() == both.predict(X)[0].tolist()
    with pytest.raises(ModelError):
        TitansDNAClassifier.load(tmp_path / "m")


def test_classes_may_be_text():
    X, y = far(2, 400)
    model = TitansDNATagger(**SMALL, max_epochs=1).fit(X, ["".join("ab"[k] for k in own) for own in y])
    assert set(model.predict(X)[0]) <= {"a", "b"}
    assert set(model.predict(["ACGT", "N" * 700])[1]) <= {"a", "b"}


@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        (["ACGT"], None, {}, "1 sequences but the classes of 0"),
        (["ACGT", "ACGT"], ["0101"], {}, "2 sequences but the classes of 1"),
        (["ACGT"], ["010"], {}, "sequence 1: there are 4 letters but 3 labels"),
        (["ACGT"], ["0000"], {}, "one class only"),
        (["ACGT"], [[0.5, 1.5, 2.0, 3.0]], {}, "sequence 1: the labels are no classes"),
        (["ACGT", "ACGT"], ["0101", [0, 1, 0, 1]], {}, "of one kind"),
        (["AC-T"], ["0101"], {}, "has a gap"),
        (["ACGT"], ["0101"], {"segment": 100}, "multiples of token 3"),
        (["ACGT"], ["0101"], {"segment": 0}, "segment must be"),
        (["ACGT"], ["0101"], {"token": 0}, "token must be"),
        (["ACGT"], ["0101"], {"strand": "x"}, "strand must be"),
        (["ACGT"], ["0101"], {"variant": "x"}, "variant must be"),
    ],
)
def test_wrong_input(X, y, options, message):
    with pytest.raises(DataError, match=message):
        TitansDNATagger(**SMALL | options).fit(X, y)


def test_distances_to_stop_codons():
    """By hand: TAA in frame 0, TCA (a stop of the other strand) in frame 1, beyond the ends stops."""
    text = "GCC" * 4 + "TAA" + "GCC" * 2 + "G" + "TCA" + "CC" + "GCC" * 3
    codes = torch.tensor([["ACGT".index(letter) for letter in text]])
    found = 2 ** (8 * stop_distances(codes, 3)) - 1
    assert found.shape == (1, len(text) // 3, 12)
    behind, ahead = found[0, :, 0], found[0, :, 1]
    assert behind[:6].round().tolist() == [1, 2, 3, 4, 0, 1]
    assert ahead[:5].round().tolist() == [4, 3, 2, 1, 0]
    assert found[0, 7, 8].round() == 0  # the other strand, frame 1, at its stop
    assert found[0, 6, 9].round() == 1
    torch.testing.assert_close(stop_distances(codes[:, :36], 6), stop_distances(codes[:, :36], 3)[:, ::2])
