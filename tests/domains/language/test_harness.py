"""A model behind lm-evaluation-harness; skipped where it is not installed."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from titans_seq.domains.language import TitansLM
from titans_seq.errors import DataError

pytest.importorskip("lm_eval", reason="needs the extra `harness` (lm-evaluation-harness)")

ARTICLES = """
 = Bees =

 Bees fly , mostly in the sun .
 = = Honey = =
 They make it of what flowers give .

 = Ants =

 Ants walk .
"""


def asked(*arguments):
    return SimpleNamespace(args=arguments)


def harness(model, windows=None):
    from titans_seq.domains.language.harness import HarnessLM

    return HarnessLM(model, windows)


def one_by_one(model, windows=None):
    from titans_seq.domains.language.harness import HarnessLM

    return HarnessLM(model, windows, batch=1)


def chances(model, text):
    """log p (T,) of each byte and the likeliest bytes, by one plain call."""
    tokens = torch.tensor([[256, *text.encode()]])
    with torch.no_grad():
        logits = model.network_(tokens[:, :-1])[0][0].double().log_softmax(-1)
    return logits.gather(1, tokens[0, 1:, None])[:, 0], logits.argmax(-1)


def test_requests_side_by_side_are_answered_as_one_by_one(small_lm):
    together, alone = harness(small_lm), one_by_one(small_lm)
    contexts = ["The value of", "A", "", "statement " * 9]
    asked_of = [asked(c, rest) for c in contexts for rest in (" the", "x", " expression is", "")]
    for (a, greedy), (b, same) in zip(
        together.loglikelihood(asked_of, True), alone.loglikelihood(asked_of, True), strict=True
    ):
        assert a == pytest.approx(b, abs=1e-4)
        assert greedy == same
    texts = [asked(text) for text in (ARTICLES, "short", "", "A longer one. " * 200)]
    for windows in (None, 16):
        found = harness(small_lm, windows).loglikelihood_rolling(texts, True)
        single = one_by_one(small_lm, windows).loglikelihood_rolling(texts, True)
        assert found == pytest.approx(single, abs=2e-3)
    options = [{"until": ["e "], "max_gen_toks": 12}, {"until": "\n", "max_gen_toks": 12}]
    answers = [asked(context, options[place % 2]) for place, context in enumerate(contexts)]
    assert together.generate_until(answers, True) == alone.generate_until(answers, True)


def test_log_likelihoods(small_lm):
    lm = harness(small_lm)
    context, continuation = "The value of", " the expression"
    ((nats, greedy),) = lm.loglikelihood([asked(context, continuation)], disable_tqdm=True)
    tokens = torch.tensor([[*(context + continuation).encode()]])
    with torch.no_grad():
        logits = small_lm.network_(tokens[:, :-1])[0][0].double().log_softmax(-1)
    expected = logits.gather(1, tokens[0, 1:, None])[len(context) - 1 :].sum()
    assert nats == pytest.approx(float(expected), rel=1e-4)
    assert not greedy
    likeliest = small_lm.generate(context, 5, temperature=0)
    assert lm.loglikelihood([asked(context, likeliest)], disable_tqdm=True)[0][1]
    alone = lm.loglikelihood([asked("", "The")], disable_tqdm=True)[0][0]
    assert alone == pytest.approx(float(chances(small_lm, "The")[0].sum()), rel=1e-4)
    assert lm.loglikelihood([asked("a", "")], disable_tqdm=True) == [(0.0, True)]


def test_rolled_log_likelihood_is_one_stream(small_lm, english):
    text = english[75_000:79_000]
    (nats,) = harness(small_lm).loglikelihood_rolling([asked(text)], disable_tqdm=True)
    assert -nats / math.log(2) / len(text.encode()) == pytest.approx(small_lm.bits_per_byte(text), rel=1e-6)


def test_windows_forget(small_lm, english):
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    text = english[75_000:75_500]
    (nats,) = harness(small_lm, 64).loglikelihood_rolling([asked(text)], disable_tqdm=True)
    tokens, total = [*text.encode()], 0.0
    for window in get_rolling_token_windows(tokens, 256, max_seq_len=64, context_len=1):
        context, wanted = make_disjoint_window(window)
        row = torch.tensor([[*context, *wanted]])
        with torch.no_grad():
            logits = small_lm.network_(row[:, :-1])[0][0].double().log_softmax(-1)
        total += float(logits.gather(1, row[0, 1:, None])[-len(wanted) :].sum())
    # the harness fills its last window with tokens that are scored already; ours begins at its first unscored one
    assert nats == pytest.approx(total, rel=0.02)
    longer = [asked(english[75_000:80_000])]
    (stream,) = harness(small_lm).loglikelihood_rolling(longer, disable_tqdm=True)
    assert stream > harness(small_lm, 64).loglikelihood_rolling(longer, disable_tqdm=True)[0]


def test_answers_end_where_they_should(small_lm):
    lm = harness(small_lm)
    options = {"until": ["e"], "max_gen_toks": 40, "do_sample": False}
    (said,) = lm.generate_until([asked("The value of", options)], disable_tqdm=True)
    assert "e" not in said
    free = small_lm.generate("The value of", 40, temperature=0)
    assert free.startswith(said)
    (said,) = lm.generate_until([asked("The value of", {"until": "\0", "max_gen_toks": 7})], disable_tqdm=True)
    assert said == small_lm.generate("The value of", 7, temperature=0)


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "wiki.txt").write_text(ARTICLES, encoding="utf-8")
    passages = ["He opened the door and saw the door", "It rained and so they took the car"]
    (tmp_path / "lambada.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in passages))
    rows = [{"goal": f"open jar {i}", "sol1": "turn", "sol2": "eat the lid of the jar"} for i in range(200)]
    (tmp_path / "piqa.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "piqa_labels.lst").write_text("".join(f"{i % 2}\n" for i in range(200)))
    names = {"wikitext": "wiki.txt", "lambada": "lambada.jsonl", "piqa": "piqa.jsonl"}
    return {task: tmp_path / name for task, name in names.items()}


def run(lm, sources, limit=None):
    import warnings

    from titans_seq.domains.language.harness_tasks import evaluate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the harness's own
        return evaluate(lm, sources, limit)


def test_stock_tasks_on_local_files(small_lm, sources):
    found = run(harness(small_lm), sources)
    assert set(found) == {"wikitext", "lambada", "piqa"}
    # the stock task drops the space in front of punctuation, but counts the bytes that it had
    articles = [" = Bees =" + ARTICLES.split(" = Bees =")[1].split(" = Ants =")[0]]
    assert 0 < found["wikitext"]["bits_per_byte"] < 8
    assert found["wikitext"]["byte_perplexity"] == pytest.approx(2 ** found["wikitext"]["bits_per_byte"])
    assert articles[0].startswith(" = Bees =")
    assert 0 <= found["lambada"]["acc"] <= 1
    # the same two answers to all, the short one always likelier, right in every other case
    assert found["piqa"]["acc"] == 0.5


def uniform(vocabulary=257):
    """A model that knows nothing at all: every token is as likely as each other."""
    size = {"dim": 16, "layers": 1, "heads": 2, "window": 8, "chunk_size": 4, "context": 16, "epoch_steps": 1}
    model = TitansLM(variant="lmm", **size, max_epochs=1).fit("to be or not to be. " * 10)
    with torch.no_grad():
        model.network_.backbone.norm.weight.zero_()
    return model


def test_a_model_that_knows_nothing_scores_at_chance(sources):
    model = uniform()
    found = run(harness(model), sources)
    assert model.bits_per_byte("any text") == pytest.approx(math.log2(257), rel=1e-5)
    assert found["lambada"]["acc"] == 0
    rolled = harness(model).loglikelihood_rolling([asked("x" * 100)], disable_tqdm=True)[0]
    assert rolled == pytest.approx(-100 * math.log(257), rel=1e-5)


def test_a_random_model_scores_at_chance_on_real_choices(real_data, small_lm):
    size = {"dim": 16, "layers": 1, "heads": 2, "window": 8, "chunk_size": 4, "context": 16, "epoch_steps": 1}
    random = TitansLM(variant="lmm", **size, max_epochs=1, learning_rate=1e-9).fit("to be or not to be. " * 10)
    language = real_data / "language"
    sources = {"piqa": language / "piqa_valid.jsonl", "wikitext": language / "wikitext2_test.txt"}
    found = run(harness(random), sources, limit=300)
    assert found["piqa"]["acc"] == pytest.approx(0.5, abs=3 * 0.5 / 300**0.5)


CHOICES = {
    "hellaswag": {
        "activity_label": "Cooking", "ctx_a": "A man stirs.", "ctx_b": "he", "label": "2",
        "endings": ["turns the pot around twice", "leaves it there for long", "eats", "throws it out of the window"],
    },
    "arc_easy": {
        "question": "What do bees make?", "answerKey": "B",
        "choices": {"text": ["a big stone", "wax", "the sea and sky"], "label": ["A", "B", "C"]},
    },
    "boolq": {"passage": "Ants walk.", "question": "do ants fly", "label": 0},
    "winogrande": {"sentence": "The bee met the ant, and _ flew.", "option1": "bee", "option2": "ant", "answer": "1"},
}  # fmt: skip
"""A document of each task as its data set has it; the right answer is the shortest, or the first of equal ones."""


def test_any_stock_task_by_the_fields_of_its_data_set(tmp_path):
    sources = {}
    for name, row in CHOICES.items():
        sources[name] = tmp_path / f"{name}.jsonl"
        sources[name].write_text(3 * (json.dumps(row) + "\n"))
    found = run(harness(uniform()), sources)
    assert {name: of["acc"] for name, of in found.items()} == dict.fromkeys(CHOICES, 1.0)


def test_both_doors_give_the_same_likelihoods(small_lm, tmp_path):
    for package in ("transformers", "accelerate"):
        pytest.importorskip(package, reason="needs the extra `transformers`")
    from lm_eval.models.huggingface import HFLM

    from titans_seq.domains.language.hugging_face import export_model, make_tokenizer

    tokenizer = make_tokenizer(small_lm.vocabulary_)
    other = HFLM(export_model(small_lm), tokenizer=tokenizer, backend="causal", batch_size=4, max_length=2048)
    requests = [("The value of", " the expression"), ("A", " statement is"), ("", "The")]
    from lm_eval.api.instance import Instance

    asked_of = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(requests)]
    ours = harness(small_lm).loglikelihood(asked_of, disable_tqdm=True)
    theirs = other.loglikelihood(asked_of, disable_tqdm=True)
    for (a, greedy), (b, same) in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, abs=1e-3)
        assert greedy == same
    (tmp_path / "hellaswag.jsonl").write_text(json.dumps(CHOICES["hellaswag"]) + "\n")
    source = {"hellaswag": tmp_path / "hellaswag.jsonl"}
    assert run(harness(small_lm), source) == run(other, source)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("lambada", "not json\n", "not JSON lines"),
        ("lambada", '{"txt": 1}\n', "has a line without text"),
        ("lambada", "", "is empty"),
        ("wikitext", "", "is empty"),
        ("helloswag", "{}", "has no task named 'helloswag'"),
        ("hellaswag", "[1]", "has a line that is no JSON object"),
        ("piqa", "{}\n{}\n", "has 2 questions, but there are 1 labels"),
    ],
)
def test_wrong_sources(tmp_path, name, content, message):
    from titans_seq.domains.language.harness_tasks import write_tasks

    (tmp_path / "data.jsonl").write_text(content)
    (tmp_path / "data_labels.lst").write_text("1\n")
    with pytest.raises(DataError, match=message):
        write_tasks(tmp_path, {name: tmp_path / "data.jsonl"})


def test_windows_must_be_some(small_lm):
    with pytest.raises(DataError, match="windows must be at least 1"):
        harness(small_lm, 0)
