"""TitansLM: fit, score, generate, stream, save, load."""

import copy
import doctest
import importlib
import itertools
import json
import math

import psutil
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from titans_seq.domains.language import TitansLM
from titans_seq.domains.language import language_model as module
from titans_seq.domains.language.baselines import ngram_bits
from titans_seq.errors import DataError, ModelError, TitansSeqWarning, TrainingError
from titans_seq.memory.neural import gate_values

SMALL = {
    "dim": 16,
    "layers": 1,
    "heads": 2,
    "window": 8,
    "chunk_size": 4,
    "context": 16,
    "epoch_steps": 4,
    "max_epochs": 1,
}
TEXT = "To be, or not to be, that is the question. " * 30


@pytest.mark.parametrize("name", ["language_model", "vocabulary"])
def test_examples_in_docstrings(name):
    done = doctest.testmod(importlib.import_module(f"titans_seq.domains.language.{name}"))
    assert done.attempted > 0
    assert done.failed == 0


def test_it_learns_english(small_lm, english):
    unseen = english[100_000:110_000]
    bits = small_lm.bits_per_byte(unseen)
    assert bits < 0.75 * ngram_bits(english[:60_000], unseen, 1)
    assert small_lm.history_.validation_loss[-1] < small_lm.history_.validation_loss[0]


def test_score_is_the_same_in_any_pieces(small_lm, english, tmp_path):
    text = english[70_000:73_000] + " naïve 東京"
    path = tmp_path / "text"
    path.write_text(text, encoding="utf-8")
    whole = small_lm.bits_per_byte(text)
    assert small_lm.bits_per_byte(path) == pytest.approx(whole, rel=1e-4)
    assert small_lm.bits_per_byte(text[i : i + 7] for i in range(0, len(text), 7)) == pytest.approx(whole, rel=1e-4)
    with torch.no_grad():
        logits, _ = small_lm.network_(torch.tensor([[256, *text.encode()]])[:, :-1])
    chances = logits[0].log_softmax(-1).gather(1, torch.tensor([*text.encode()]).unsqueeze(1))
    assert float(-chances.mean()) / math.log(2) == pytest.approx(whole, rel=1e-4)


def test_lines_add_up_to_the_text(small_lm, tmp_path):
    text = "The value of x.\n\nnaïve café, 東京\nno break at the end"
    (tmp_path / "text").write_text(text, encoding="utf-8")
    for given in (text, tmp_path / "text", iter(text)):
        lines = list(small_lm.score_lines(given))
        assert [row["text"] for row in lines] == text.split("\n")
        assert [row["line"] for row in lines] == [1, 2, 3, 4]
        assert sum(row["bytes"] for row in lines) == len(text.encode())
        bits = sum(row["bits_per_byte"] * row["bytes"] for row in lines)
        assert bits == pytest.approx(small_lm.bits_per_byte(text) * len(text.encode()), rel=1e-4)


def test_what_came_before_is_still_known_far_behind_the_window(small_lm, english):
    text = english[80_000:80_400]
    behind = small_lm.surprise(english[10_000:10_400] + text)["bits"].to_numpy()[-len(text) :]
    alone = small_lm.surprise(text)["bits"].to_numpy()
    # attention sees 16 tokens in this one layer; past them only the memory can tell
    assert abs(behind - alone)[40:80].max() > 1e-3


def test_score_holds_no_more_for_a_longer_text(small_lm, english):
    process, resident = psutil.Process(), []

    def text(size):
        for start in range(0, size, 1000):
            yield english[start % 400_000 :][:1000]
            resident.append(process.memory_info().rss)

    small_lm.bits_per_byte(text(200_000))
    assert max(resident[100:]) - resident[20] < 8e6, "bytes more at the end of a text ten times as long"


def test_the_same_seed_the_same_words(small_lm):
    said = small_lm.generate("The value of", max_new_tokens=60, seed=5)
    assert said == small_lm.generate("The value of", max_new_tokens=60, seed=5)
    assert said != small_lm.generate("The value of", max_new_tokens=60, seed=6)
    assert len(said.encode()) <= 60 * 3  # replacement characters take three bytes
    coldest = {small_lm.generate("The", 20, temperature=0, seed=s) for s in range(3)}
    assert len(coldest) == 1
    assert small_lm.generate("The", 20, top_k=1, seed=9) in coldest
    assert small_lm.generate("The", 20, top_p=1e-6, seed=9) in coldest


def test_stream_goes_on_with_what_generate_begins(small_lm):
    stream = small_lm.stream("The value", seed=2)
    said = "".join(itertools.islice(stream, 30))
    assert small_lm.generate("The value", 30, seed=2)[:30].startswith(said[:25])


PROMPTS = ["The value of", "", "A", "statement " * 30]


@pytest.mark.parametrize(
    "choice", [{"temperature": 0}, {"seed": 3}, {"seed": 1, "top_k": 9, "repetition_penalty": 1.3}]
)
def test_prompts_side_by_side_go_on_as_they_would_alone(small_lm, choice):
    assert small_lm.generate(PROMPTS, 25, **choice) == [small_lm.generate(p, 25, **choice) for p in PROMPTS]
    assert small_lm.generate([]) == []


def test_rows_that_have_ended_do_not_disturb_the_others(small_lm):
    alone = [small_lm.generate(prompt, 40, seed=2) for prompt in PROMPTS]
    stop = alone[0][5:7]
    expected = [text.split(stop)[0] for text in alone]
    assert small_lm.generate(PROMPTS, 40, seed=2, stop=stop) == expected
    assert len(expected[0]) <= 5


def test_a_stop_string_is_never_shown_in_part(small_lm):
    whole = small_lm.generate("The value of", 60, seed=5)
    for stop in (whole[10:14], [whole[30:33], whole[12:18]], whole[:1], "\N{SNOWMAN}"):
        stops = [stop] if isinstance(stop, str) else stop
        ends = [whole.find(s) for s in stops if s in whole]
        assert "".join(small_lm.stream("The value of", 60, seed=5, stop=stop)) == whole[: min(ends, default=None)]
    for wrong in ("", [""], [3]):
        with pytest.raises(DataError, match="a stop string must be"):
            small_lm.stream(stop=wrong)


def test_byte_pairs_are_trained_scored_saved_and_said(tmp_path):
    model = TitansLM(**SMALL, vocabulary="bpe", vocabulary_size=300).fit(TEXT)
    assert 257 < model.vocabulary_.size <= 300
    assert model.bits_per_byte(TEXT[:50]) == pytest.approx(
        model.bits_per_byte(iter([TEXT[:13], TEXT[13:50]])), rel=1e-6
    )
    lines = [*model.score_lines("to be\nor not")]
    assert [line["bytes"] for line in lines] == [6, 6]
    assert sum(line["bits_per_byte"] * 6 for line in lines) / 12 == pytest.approx(model.bits_per_byte("to be\nor not"))
    loaded = TitansLM.load(model.save(tmp_path / "m"))
    assert loaded.generate(["to", "b"], 8) == model.generate(["to", "b"], 8)
    assert loaded.bits_per_byte(TEXT[:50]) == model.bits_per_byte(TEXT[:50])


def test_training_goes_on_from_a_saved_model(tmp_path):
    model = TitansLM(**SMALL, vocabulary="symbols").fit(TEXT)
    folder = model.save(tmp_path / "m")
    again = TitansLM.load(folder).set_params(warm_start=True, learning_rate=1e-9).fit(TEXT)
    assert again.bits_per_byte(TEXT) == pytest.approx(model.bits_per_byte(TEXT), rel=1e-4)
    assert again.set_params(learning_rate=1e-2).fit(TEXT).bits_per_byte(TEXT) < model.bits_per_byte(TEXT)
    with pytest.raises(DataError, match="warm_start: the earlier network has other sizes"):
        TitansLM.load(folder).set_params(warm_start=True, dim=32).fit(TEXT)
    with pytest.raises(DataError, match="not in the model's vocabulary"):
        TitansLM.load(folder).set_params(warm_start=True).fit(TEXT + "§")


def test_stream_equals_reading_all_of_it_each_time(small_lm):
    prompt = "The statement is executed"
    said = small_lm.generate(prompt, 12, temperature=0)
    tokens = [*prompt.encode()]
    with torch.no_grad():
        for _ in range(12):
            tokens.append(int(small_lm.network_(torch.tensor([tokens]))[0][0, -1].argmax()))
    assert bytes(tokens[len(prompt) :]).decode("utf-8", "replace") == said


def test_stream_holds_a_state_of_one_size(small_lm):
    sizes = []
    network = small_lm.network_

    def watch(module, arguments, output):
        sizes.append(output[1].nbytes)

    handle = network.register_forward_hook(watch)
    try:
        for _ in itertools.islice(small_lm.stream("a long prompt to begin with " * 20), 300):
            pass
    finally:
        handle.remove()
    assert len(sizes) >= 300
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("vocabulary", ["bytes", "symbols"])
@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal", "attention", "gru"])
def test_saved_and_loaded_it_is_the_same(tmp_path, variant, vocabulary):
    model = TitansLM(variant=variant, vocabulary=vocabulary, **SMALL).fit(TEXT)
    loaded = TitansLM.load(model.save(tmp_path / "model"))
    assert loaded.get_params() == model.get_params()
    assert loaded.bits_per_byte("to be") == model.bits_per_byte("to be")
    assert loaded.generate("to", 10) == model.generate("to", 10)
    assert loaded.history_.validation_loss == model.history_.validation_loss


def test_initial_step_is_where_the_memory_begins(tmp_path):
    model = TitansLM(**SMALL, initial_step=0.3, learning_rate=1e-6).fit(TEXT)
    memory = model.network_.get_submodule("backbone.blocks.0.memory.memory")
    steps, _, _ = gate_values(memory.gates.bias.detach(), memory.config)
    assert steps.tolist() == pytest.approx([0.3] * model.heads, rel=1e-3)
    folder = model.save(tmp_path / "model")
    assert TitansLM.load(folder).initial_step == 0.3


def test_the_same_seed_the_same_model():
    scores = {
        TitansLM(carry=c, random_state=s, **SMALL).fit(TEXT).bits_per_byte("to be") for c in (0, 1) for s in (0, 1)
    }
    assert len(scores) == 4
    assert TitansLM(random_state=1, **SMALL).fit(TEXT).bits_per_byte("to be") in scores


def test_scikit_learn_conventions():
    model = TitansLM(variant="mal", dim=48)
    twin = clone(model.set_params(layers=3))
    assert twin.get_params() == model.get_params()
    assert twin.layers == 3
    assert not hasattr(twin, "network_")
    for call in (
        lambda: twin.bits_per_byte("a"),
        lambda: twin.generate("a"),
        lambda: twin.surprise("a"),
        lambda: twin.save("x"),
    ):
        with pytest.raises(NotFittedError):
            call()


def test_symbols_compare_to_bytes_where_each_is_one_byte():
    model = TitansLM(vocabulary="symbols", **SMALL).fit(TEXT)
    assert model.vocabulary_.size == len(set(TEXT)) + 1
    assert 0 < model.bits_per_byte("to be") < 8
    with pytest.raises(DataError, match="'X' at position 1 is not in the model's vocabulary"):
        model.generate("X", 3)
    with pytest.raises(DataError, match="'X' at position 4"):
        model.bits_per_byte("to X")


def test_wide_characters_count_their_bytes():
    model = TitansLM(vocabulary="symbols", **SMALL).fit("äöü" * 100)
    nats = 0.0
    with torch.no_grad():
        tokens = torch.tensor([3, 0, 1, 2])
        nats = float(-model.network_(tokens[None, :-1])[0][0].log_softmax(-1).gather(1, tokens[1:, None]).sum())
    assert model.bits_per_byte("äöü") == pytest.approx(nats / math.log(2) / 6, rel=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"variant": "mamba"}, "variant must be"),
        ({"vocabulary": "words"}, "vocabulary must be"),
        ({"dim": 10, "heads": 4}, "multiple of heads"),
        ({"window": None}, "window must be a whole number"),
        ({"context": 0}, "context must be"),
        ({"batch_size": 2.5}, "batch_size must be"),
        ({"epoch_steps": 0}, "epoch_steps must be"),
        ({"max_epochs": 0}, "max_epochs must be"),
        ({"learning_rate": -1.0}, "learning_rate must be"),
        ({"weight_decay": -1.0}, "weight_decay must be"),
        ({"validation_fraction": 1.0}, "validation_fraction must lie"),
        ({"random_state": -1}, "random_state must be"),
        ({"random_state": 2**80}, "random_state must be"),
        ({"dropout": 1.5}, "dropout must be"),
        ({"initial_step": 0.0}, "initial_step must lie between 0 and 1"),
    ],
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(DataError, match=message):
        TitansLM(**SMALL | wrong).fit(TEXT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        ("short", "has 5 bytes, to train and validate at least 33 are needed"),
        ("x" * 32, "has 32 bytes"),
        (b"bytes", "must be a str"),
        (None, "must be a str"),
        ("half a pair \udc00" * 10, "no character of UTF-8"),
    ],
)
def test_wrong_texts_are_refused(text, message):
    with pytest.raises(DataError, match=message):
        TitansLM(**SMALL).fit(text)


def test_the_shortest_text_that_will_do():
    assert TitansLM(**SMALL).fit("x" * 33).bits_per_byte("x") > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number of at least 1, not 0"),
        ({"max_new_tokens": 2.5}, "max_new_tokens must be"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1"),
        ({"top_p": 1.5}, "top_p must be"),
        ({"top_k": 0}, "top_k must be"),
        ({"temperature": -0.1}, "temperature must be"),
        ({"seed": -1}, "seed must be"),
        ({"min_p": 2}, "min_p must be"),
        ({"repetition_penalty": 0}, "repetition_penalty must be"),
        ({"prompt": "\udcff"}, "no character of UTF-8"),
        ({"prompt": 3}, "the prompt must be a str"),
    ],
)
def test_wrong_wishes_are_refused_at_once(small_lm, wrong, message):
    with pytest.raises(DataError, match=message):
        small_lm.stream(**wrong)
    with pytest.raises(DataError, match=message):
        small_lm.generate(**wrong)


def spoiled(monkeypatch, step):
    """From some training step on the loss is NaN."""
    seen = itertools.count()

    class Spoiled(module.NextTokenLoss):
        def __call__(self, network, batch):
            loss = super().__call__(network, batch)
            return loss * torch.nan if network.training and next(seen) >= step else loss

    monkeypatch.setattr(module, "NextTokenLoss", Spoiled)


def test_a_loss_that_is_no_number_stops_and_says_where(monkeypatch):
    spoiled(monkeypatch, 2)
    model = TitansLM(**SMALL)
    with pytest.raises(TrainingError, match="not finite in epoch 1, step 3"):
        model.fit(TEXT)
    assert not hasattr(model, "network_")


def test_a_later_one_keeps_the_last_good_epoch(monkeypatch, tmp_path):
    spoiled(monkeypatch, 10)
    saved = []

    def keep(model, better):
        if better:
            saved.append(copy.deepcopy(model.network_.state_dict()))
            model.save(tmp_path / "model")

    with pytest.warns(TitansSeqWarning, match="epoch 3, step 11; the best epoch before is kept"):
        model = TitansLM(**SMALL | {"max_epochs": 5}).fit(TEXT, on_epoch=keep)
    assert len(model.history_.validation_loss) == 2
    for weights in (model.network_.state_dict(), TitansLM.load(tmp_path / "model").network_.state_dict()):
        assert all(torch.equal(saved[-1][name], weights[name]) for name in weights)
    assert math.isfinite(model.bits_per_byte("to be"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c | {"fitted": {"symbols": "zyx"}},
        lambda c: c | {"fitted": {"symbols": 3}},
        lambda c: c | {"training": None},
        lambda c: c | {"parameters": c["parameters"] | {"dim": 32}},
        lambda c: c | {"parameters": c["parameters"] | {"vocabulary": "symbols"}},
        lambda c: c | {"parameters": c["parameters"] | {"unknown": 1}},
        lambda c: {k: v for k, v in c.items() if k != "parameters"},
    ],
)
def test_a_changed_folder_is_refused(tmp_path, damage):
    folder = TitansLM(**SMALL).fit(TEXT).save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(damage(config)))
    with pytest.raises(ModelError, match="damaged or was changed"):
        TitansLM.load(folder)


def test_another_kind_of_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no saved model"):
        TitansLM.load(tmp_path)
