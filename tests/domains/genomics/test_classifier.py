"""The classifier: what it learns, what it must not notice, how it is saved, and what it refuses."""

import json
import os
import signal
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from tests.domains.genomics.conftest import SMALL, planted
from titans_seq.domains.genomics import SequenceEncoder, TitansDNAClassifier
from titans_seq.domains.genomics.choose import Reading, Trial, best_trial, candidates
from titans_seq.errors import DataError, ModelError, TitansSeqWarning
from titans_seq.memory.neural import gate_values

VARIANTS = ["lmm", "mac", "mag", "mal", "attention", "gru", "convolution", "none"]
EXACT = {"rtol": 0, "atol": 1e-6}


def reverse_complements(sequences):
    return [str(Seq(s).reverse_complement()) for s in sequences]


def test_learns_a_motif_on_both_strands(fitted):
    assert fitted.score(*planted(100, seed=1)) >= 0.8


@pytest.mark.parametrize("variant", VARIANTS)
def test_strands_padding_and_neighbours_change_nothing(variant, examples):
    sequences = [*examples[0][:40], "ACG", "N" * 13, "ACGTRYN" * 9]
    model = TitansDNAClassifier(variant=variant, **SMALL | {"max_epochs": 1}).fit(*examples)
    with pytest.warns(TitansSeqWarning, match="3 letters, the shortest of the training data has 30"):
        together = model.predict_proba(sequences)
    np.testing.assert_allclose(together.sum(1), 1, **EXACT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TitansSeqWarning)
        np.testing.assert_allclose(model.predict_proba(reverse_complements(sequences)), together, **EXACT)
        alone = np.concatenate([model.predict_proba([s]) for s in sequences])
    np.testing.assert_allclose(alone, together, **EXACT)
    codes = np.pad(SequenceEncoder().transform(examples[0][:5]), ((0, 0), (0, 37)), constant_values=5)
    np.testing.assert_allclose(model.predict_proba(codes), together[:5], **EXACT)


def test_given_strand_counts(stranded, examples):
    straight, other = stranded.predict_proba(examples[0]), stranded.predict_proba(reverse_complements(examples[0]))
    assert np.abs(straight - other).max() > 0.01


def test_every_kind_of_input_is_the_same(fitted, examples):
    texts = examples[0][:6]
    expected = fitted.predict_proba(texts)
    kinds = [
        np.array(texts), pd.Series(texts), pd.DataFrame({"s": texts}), [Seq(s) for s in texts],
        [SeqRecord(Seq(s), id="r") for s in texts], [s.lower() for s in texts], [s.encode() for s in texts],
        SequenceEncoder().transform(texts),
    ]  # fmt: skip
    for kind in kinds:
        np.testing.assert_array_equal(fitted.predict_proba(kind), expected)
    with pytest.warns(TitansSeqWarning, match="holds? U, as RNA does"):
        np.testing.assert_array_equal(fitted.predict_proba([s.replace("T", "U") for s in texts]), expected)


@pytest.mark.parametrize(
    ("labels", "kind"), [([3, 1, 2], "i"), (["c", "a", "b"], "U"), ([2.0, 0.0, 1.0], "f"), ([True, False], "b")]
)
def test_classes_of_every_kind(tmp_path, labels, kind):
    rng = np.random.default_rng(0)
    weights = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]
    y = [labels[i % len(labels)] for i in range(90)]
    X = ["".join(rng.choice(list("ACGT"), 40, p=weights[i % len(labels)])) for i in range(90)]
    model = TitansDNAClassifier(**SMALL | {"strand": "given", "max_epochs": 3}).fit(X, y)
    assert model.classes_.tolist() == sorted(labels)
    assert model.classes_.dtype.kind == kind
    assert model.predict_proba(X).shape == (90, len(labels))
    assert model.score(X, y) > 0.9
    model.save(tmp_path / "m")
    loaded = TitansDNAClassifier.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.classes_.dtype == model.classes_.dtype


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(fitted, examples):
    again = clone(fitted).fit(*examples)
    np.testing.assert_array_equal(again.predict_proba(examples[0]), fitted.predict_proba(examples[0]))
    other = clone(fitted).set_params(random_state=1).fit(*examples)
    assert np.abs(other.predict_proba(examples[0]) - fitted.predict_proba(examples[0])).max() > 1e-3


@pytest.mark.slow
def test_in_a_pipeline_under_group_k_fold():
    X, y = planted(120)
    small = TitansDNAClassifier(**SMALL | {"max_epochs": 1})
    pipe = make_pipeline(SequenceEncoder(), small)
    groups = np.arange(120) // 4
    scores = cross_val_score(pipe, X, y, groups=groups, cv=GroupKFold(3), error_score="raise")
    assert scores.shape == (3,)
    np.testing.assert_array_equal(pipe.fit(X, y).predict_proba(X), small.fit(X, y).predict_proba(X))


def test_save_load_and_damage(tmp_path, fitted, examples):
    folder = fitted.save(tmp_path / "model")
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors"}
    loaded = TitansDNAClassifier.load(folder)
    np.testing.assert_array_equal(loaded.predict_proba(examples[0]), fitted.predict_proba(examples[0]))
    assert loaded.get_params() == fitted.get_params()
    config = json.loads((folder / "config.json").read_text())
    for change in (
        {"fitted": config["fitted"] | {"classes": {"kind": "str", "values": ["one"]}}},
        {"fitted": config["fitted"] | {"classes": {"kind": "str", "values": ["b", "a"]}}},
        {"fitted": config["fitted"] | {"classes": {"kind": "str", "values": [1, 2]}}},
        {"fitted": config["fitted"] | {"classes": {"kind": "odd", "values": ["a", "b"]}}},
        {"parameters": config["parameters"] | {"dim": 32}},
        {"parameters": config["parameters"] | {"nonsense": 1}},
        {"parameters": config["parameters"] | {"kmer_size": 5}},
        {"fitted": config["fitted"] | {"lengths": [1]}},
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match="damaged or was changed"):
            TitansDNAClassifier.load(folder)


def test_initial_step_is_where_the_memory_begins(tmp_path, examples):
    model = TitansDNAClassifier(**SMALL | {"max_epochs": 1, "learning_rate": 1e-6}, initial_step=0.3).fit(*examples)
    memory = model.network_.get_submodule("mixer.backbone.blocks.0.memory.memory")
    steps, _, _ = gate_values(memory.gates.bias.detach(), memory.config)
    assert steps.tolist() == pytest.approx([0.3] * model.heads, rel=1e-3)
    folder = model.save(tmp_path / "model")
    assert TitansDNAClassifier.load(folder).initial_step == 0.3


@pytest.mark.slow
def test_ctrl_c_keeps_the_best(examples):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    model = TitansDNAClassifier(**SMALL | {"max_epochs": 1000, "patience": 1000})
    epochs = []

    def after(fitted, better):
        epochs.append(fitted.history_.validation_loss[-1])
        if len(epochs) == 3:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(*examples, on_epoch=after)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(epochs) < 1000
    assert model.predict(examples[0]).shape == (240,)


def test_stops_early_on_a_given_validation_part(examples):
    model = TitansDNAClassifier(**SMALL | {"max_epochs": 60, "patience": 1})
    wrong = ["none" if label == "motif" else "motif" for label in examples[1]]
    model.fit(*examples, validation=(examples[0][:60], wrong[:60]))
    assert len(model.history_.validation_loss) < 60
    with pytest.raises(DataError, match=r"classes that the training data has not: \['other'\]"):
        model.fit(*examples, validation=(["ACGT"], ["other"]))


def test_class_weight_moves_the_answer():
    X, y = planted(160)
    few = [i for i in range(160) if y[i] == "none" or i % 16 == 1]
    X, y = [X[i] for i in few], [y[i] for i in few]
    options = SMALL | {"max_epochs": 2}
    plain = TitansDNAClassifier(**options).fit(X, y).predict_proba(X)[:, 0].mean()
    balanced = TitansDNAClassifier(**options, class_weight="balanced").fit(X, y).predict_proba(X)[:, 0].mean()
    named = TitansDNAClassifier(**options, class_weight={"motif": 8, "none": 1}).fit(X, y).predict_proba(X)[:, 0].mean()
    assert balanced > plain + 0.1
    assert named > plain + 0.1


PAIR = (["ACGTACGT", "GGGGCCCC"] * 5, [0, 1] * 5)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([], [], "there are no sequences"),
        (["ACGT"] * 4, [0, 1], "there are 4 sequences but 2 labels"),
        (["ACGT"] * 4, [1] * 4, "at least 2 classes are needed, there is one class only"),
        (["ACGT"] * 4, None, "y is None"),
        (["ACGT"] * 4, [0, "a", 1, 0], "labels must be of one kind"),
        (["ACGT"] * 4, [0, None, 1, 0], "labels must be of one kind.*NoneType"),
        (["ACGT"] * 4, [0.0, np.nan, 1.0, 0.0], "NaN"),
        (["ACGT"] * 4, [0.5, 0.25, 1.0, 0.0], "no classes"),
        (["ACGT"] * 4, [[0, 1]] * 4, "labels cannot be used"),
        (["ACGT", 3, "A", "C"], [0, 1, 0, 1], "sequence 2 is int"),
        (["ACGT", "MKLVE", "A", "C"], [0, 1, 0, 1], "looks like a protein"),
        (["ACGT", "", "A", "C"], [0, 1, 0, 1], "sequence 2 is empty"),
        ("ACGT", [0], "put it into a list"),
        (["ACGT"] * 5, [0, 0, 0, 0, 1], "class 1 has one sequence only"),
        (np.random.default_rng(0).normal(size=(4, 3)), [0, 1, 0, 1], "one column of sequences is needed, 3 came"),
    ],
)
def test_wrong_data(X, y, message):
    with pytest.raises(DataError, match=message):
        TitansDNAClassifier(**SMALL).fit(X, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "mamba"}, "variant must be"),
        ({"strand": "left"}, "strand must be one of both, given"),
        ({"ambiguous": "drop"}, "ambiguous must be"),
        ({"pool": 0}, "pool must be"),
        ({"kmer_size": 9}, "kmer_size must be at most 8"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"initial_step": 1.0}, "initial_step must lie between 0 and 1"),
        ({"letter_dropout": -0.1}, "letter_dropout must be"),
        ({"label_smoothing": 1.0}, "label_smoothing must lie from 0"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"random_state": -1}, "random_state must be"),
        ({"validation_fraction": 0}, "validation_fraction must lie between 0 and 1"),
        ({"class_weight": "odd"}, "class_weight"),
        ({"max_epochs": 0}, "max_epochs must be"),
        ({"weight_decay": -1.0}, "weight_decay must"),
        ({"dim": 15}, "dim \\(15\\) must be a multiple of heads"),
    ],
)
def test_wrong_parameters(options, message):
    with pytest.raises(DataError, match=message):
        TitansDNAClassifier(**SMALL | options).fit(*PAIR)


def test_not_fitted():
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(TitansDNAClassifier(), method)(["ACGT"])


def test_ten_million_letters_are_refused_not_cut(fitted):
    with pytest.raises(DataError, match=r"sequence 2 has 10,000,000 letters, more than the 100,000 .*titans-seq scan"):
        fitted.predict_proba(["ACGT", "ACGTA" * 2_000_000])


def test_batches_are_bounded():
    from titans_seq.domains.genomics.fitting import BATCH_LETTERS, batch_slices

    lengths = np.sort(np.random.default_rng(0).integers(1, 60_000, 300))
    found = batch_slices(lengths)
    assert [i for part in found for i in range(part.start, part.stop)] == list(range(300))
    assert all((p.stop - p.start) * lengths[p.stop - 1] <= BATCH_LETTERS or p.stop - p.start == 1 for p in found)


def aligned(count, seed=0):
    """Sequences of 60 letters whose class is the letter at one place, and its opposite at another."""
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("ACGT"), (count, 60))
    letters[:, 20:24] = list("GTAC")
    letters[: count // 2, 20:24] = list("CTAG")  # both are their own reverse complements
    letters[: count // 2, 40:44] = list("GTAC")
    letters[count // 2 :, 40:44] = list("CTAG")
    return ["".join(row) for row in letters], [0] * (count // 2) + [1] * (count - count // 2)


QUICK = {"dim": 8, "heads": 1, "motifs": 16, "motif_width": 6, "chunk_size": 8, "kmer_size": 0, "learning_rate": 1e-2}


def test_sequences_that_are_aligned_are_read_by_place():
    model = TitansDNAClassifier(**QUICK, max_epochs=4).fit(*aligned(400))
    assert model.reading_.strand == "given"
    assert model.reading_.sections > 0
    X, y = aligned(100, 1)
    assert model.score(X, y) > 0.95
    assert model.get_params()["strand"] == "auto"
    assert model.network_.config.sections == model.reading_.sections


def test_few_sequences_have_more_motifs_and_more_unknown_letters(examples, monkeypatch, tmp_path):
    X, y = examples
    quick = QUICK | {"motifs": None, "max_epochs": 1, "strand": "given", "pool": 4, "sections": 0}

    def fitted(**more):
        model = TitansDNAClassifier(**quick | more).fit(X, y)
        return model, (model.network_.config.motifs, model.network_.config.letter_dropout)

    monkeypatch.setattr("titans_seq.domains.genomics.classifier.MOTIFS", (12, 6))
    small, sizes = fitted()
    assert sizes == (12, 0.25)
    small.save(tmp_path / "model")
    monkeypatch.setattr("titans_seq.domains.genomics.classifier.FEW", 10)
    assert fitted()[1] == (6, 0.1)
    assert fitted(motifs=9, letter_dropout=0.3)[1] == (9, 0.3)
    again = TitansDNAClassifier.load(tmp_path / "model")
    assert (again.predict_proba(X) == small.predict_proba(X)).all()
    assert again.set_params(warm_start=True).fit(X, y).network_.config.motifs == 12
    begun = TitansDNAClassifier(**quick).pretrain(X)
    monkeypatch.setattr("titans_seq.domains.genomics.classifier.FEW", 20_000)
    assert begun.fit(X, y).network_.config.motifs == 6


def test_motifs_on_either_strand_are_read_on_both(examples):
    model = TitansDNAClassifier(**QUICK | {"dim": 16, "heads": 2}, max_epochs=2).fit(*examples)
    assert model.reading_.strand == "both"
    assert model.reading_.sections == 0


def test_what_is_given_is_not_searched(examples, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr("titans_seq.domains.genomics.choose.train", never)
    model = TitansDNAClassifier(**SMALL | {"max_epochs": 1}).fit(*examples)
    assert model.reading_.model_dump() == {"strand": "both", "pool": 4, "sections": 0, "motifs": 16}


def test_candidates_are_trained_no_longer_than_the_model(examples, monkeypatch):
    from titans_seq.domains.genomics import choose

    real, passes = choose.train, []

    def recorded(network, loss, training, validation, config):
        passes.append(config.max_epochs)
        return real(network, loss, training, validation, config)

    monkeypatch.setattr(choose, "train", recorded)
    for most in (1, 2, 40):
        TitansDNAClassifier(**SMALL | {"strand": "auto", "max_epochs": most, "max_minutes": None}).fit(*examples)
    assert sorted(set(passes)) == [1, 2, choose.MOST_EPOCHS]


def test_candidates_follow_the_lengths_and_what_is_given():
    same, mixed = [np.zeros(70, np.uint8)] * 5, [np.zeros(n, np.uint8) for n in (30, 80)]
    assert [(r.strand, r.pool, r.sections) for r in candidates(same, {})] == [
        ("both", 8, 0), ("given", 8, 0), ("given", 2, 35),
    ]  # fmt: skip
    assert {r.sections for r in candidates(mixed, {})} == {0}
    assert {r.strand for r in candidates(same, {"strand": "both"})} == {"both"}
    assert len(candidates(same, {"pool": 2, "strand": "given", "sections": 3})) == 1


def test_a_gain_of_chance_changes_nothing():
    rng = np.random.default_rng(0)
    plain = Trial(Reading(), rng.normal(1, 1, 100))
    luck = Trial(Reading(strand="given"), plain.losses - 0.01 + rng.normal(0, 1, 100) * 0.5)
    better = Trial(Reading(pool=2), plain.losses - 0.3)
    assert best_trial([plain, luck]) is plain
    assert best_trial([plain, luck, better]) is better


def test_pretraining_is_where_fit_begins(examples):
    X, y = examples
    repeats = [("ACGGT" * 20)[i % 5 :] for i in range(200)]
    model = TitansDNAClassifier(**SMALL | {"max_epochs": 3}).pretrain(repeats)
    assert min(model.pretrained_.history.validation_loss) < 0.8 * np.log(4)  # which no knowledge costs
    start = {name: tensor.clone() for name, tensor in model.pretrained_.weights.items()}
    model.set_params(max_epochs=1, learning_rate=1e-9, average=None).fit(X, y)
    weights = model.network_.state_dict()
    assert any(name.startswith("mixer.") for name in start)
    for name, tensor in start.items():
        if "running" not in name and "num_batches" not in name:
            np.testing.assert_allclose(weights[name], tensor, atol=1e-5)
    assert TitansDNAClassifier().pretrain(["ACGT" * 20] * 4).pretrained_.pool == 2
    with pytest.raises(DataError, match="at least 2 sequences"):
        TitansDNAClassifier().pretrain(["ACGT"])


def test_warm_start_goes_on(examples, fitted, tmp_path):
    X, y = examples
    fitted.save(tmp_path / "m")
    model = TitansDNAClassifier.load(tmp_path / "m").set_params(warm_start=True, max_epochs=1, learning_rate=1e-9)
    model.set_params(average=None, kmer_size=fitted.kmer_size).fit(X, y)
    np.testing.assert_allclose(model.predict_logits(X[:20]), fitted.predict_logits(X[:20]), atol=0.2)
    assert model.reading_ == fitted.reading_
    other = model.fit(X, np.array(["a", "b", "c"])[np.arange(len(X)) % 3])  # other classes: a head of its own
    assert other.predict_proba(X[:5]).shape == (5, 3)
    with pytest.raises(DataError, match="the earlier network has other sizes"):
        model.set_params(dim=32).fit(X, y)


def test_embeddings(fitted, examples):
    found = fitted.transform(examples[0][:30])
    assert found.shape == (30, 3 * SMALL["dim"])
    np.testing.assert_allclose(fitted.transform(reverse_complements(examples[0][:30])), found, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_an_ensemble_is_the_mean_of_its_networks(examples, tmp_path):
    X, y = examples
    model = TitansDNAClassifier(**SMALL | {"max_epochs": 2}, ensemble=2, random_state=3).fit(X, y)
    alone = [TitansDNAClassifier(**SMALL | {"max_epochs": 2}, random_state=3 + k).fit(X, y) for k in range(1)]
    assert len(model.networks) == 2
    first = model.networks[0].state_dict()
    for name, tensor in alone[0].network_.state_dict().items():
        np.testing.assert_allclose(first[name], tensor, atol=1e-6)
    with torch.inference_mode():
        codes = torch.from_numpy(SequenceEncoder().transform(X[:9]))
        mean = sum(network(codes) for network in model.networks) / 2
    np.testing.assert_allclose(model.predict_logits(X[:9]), mean, atol=1e-6)
    assert np.abs(model.predict_logits(X[:9]) - alone[0].predict_logits(X[:9])).max() > 1e-3
    again = TitansDNAClassifier.load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict_logits(X[:9]), model.predict_logits(X[:9]))
    assert again.transform(X[:3]).shape == (3, 2 * 3 * SMALL["dim"])
    with pytest.raises(DataError, match="ensemble must be"):
        TitansDNAClassifier(**SMALL, ensemble=0).fit(X, y)
