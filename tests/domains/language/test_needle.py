"""Needles in haystacks, against the published definition, and networks that look for them."""

import re
import uuid

import pytest
import torch

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.language.needle import (
    ANSWER_BYTES,
    DEPTHS,
    SENTENCES,
    NeedleTask,
    found,
    needle_examples,
)
from titans_seq.domains.language.network import LanguageConfig, LanguageNetwork
from titans_seq.domains.language.retrieval import (
    NeedleBatches,
    answer_loss,
    collate_needles,
    needle_accuracy,
    needle_loader,
)
from titans_seq.errors import DataError
from titans_seq.memory.record import record_gates
from titans_seq.training import TrainingConfig, temporary_seed, train

ESSAY = "He wrote on. She read it all! Was it any good? Some of it was. The rest was not worth the ink it took. " * 3

PROMPT = re.compile(
    r"A special magic (?P<kind>number|uuid) is hidden within the following text\. Make sure to memorize it\. "
    r"I will quiz you about the (?P=kind) afterwards\.\n(?P<context>.*)\n"
    r"What is the special magic (?P=kind) for (?P<key>[a-z]+-[a-z]+) mentioned in the provided text\? "
    r"The special magic (?P=kind) for (?P=key) mentioned in the provided text is",
    re.DOTALL,
)
"""As RULER's published code words it for one key, one value and one question."""


@pytest.mark.parametrize("kind", ["passkey", "number", "uuid"])
@pytest.mark.parametrize("length", [1024, 4096])
@pytest.mark.parametrize("even", [False, True])
def test_prompts_are_worded_and_sized_as_published(kind, length, even):
    task = NeedleTask(kind=kind, length=length, even=even)
    haystack = None if kind == "passkey" else ESSAY
    for example in needle_examples(task, 20, 0, haystack):
        match = PROMPT.fullmatch(example.prompt)
        assert match
        assert match["kind"] == ("uuid" if kind == "uuid" else "number")
        assert match["key"] == example.key
        needle = f"One of the special magic {match['kind']}s for {example.key} is: {example.value}."
        assert match["context"].count(needle) == 1
        assert example.prompt.count(example.value) == 1
        if kind == "uuid":
            assert str(uuid.UUID(example.value)) == example.value
            assert uuid.UUID(example.value).version == 4
        else:
            assert re.fullmatch("[1-9][0-9]{6}", example.value)
        size = len(example.prompt.encode()) + ANSWER_BYTES
        assert size == length if even else length - len(SENTENCES) - 2 < size <= length


def test_pass_keys_hide_between_lines_of_the_five_sentences():
    assert SENTENCES == "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
    for example in needle_examples(NeedleTask(length=2048), 20, 1):
        lines = PROMPT.fullmatch(example.prompt)["context"].split("\n")
        places = [i for i, line in enumerate(lines) if line != SENTENCES]
        assert len(places) == 1
        assert lines[places[0]].endswith(f"{example.value}.")
        assert places[0] < len(lines) - 1, "as published, a line follows"


def test_needles_lie_at_all_depths_evenly():
    depths = torch.tensor([e.depth for e in needle_examples(NeedleTask(length=4096), 3000, 2)])
    shares = torch.histc(depths, 5, 0, 1) / 3000
    torch.testing.assert_close(shares, torch.full((5,), 0.2), atol=0.04, rtol=0)
    natural = [e.depth for e in needle_examples(NeedleTask(kind="number", length=8192), 2000, 2, ESSAY)]
    # the published code places a needle behind a whole per cent of the sentences, 40 of them from 0 to 100
    assert len(DEPTHS) == 40
    assert (DEPTHS[0], DEPTHS[-1]) == (0, 100)
    assert len({round(d, 2) for d in natural}) <= 45
    assert sum(d < 0.5 for d in natural) / 2000 == pytest.approx(0.5, abs=0.04)


def test_natural_haystacks_keep_their_sentences_in_order():
    (example,) = needle_examples(NeedleTask(kind="number", length=1500), 1, 3, ESSAY)
    context = PROMPT.fullmatch(example.prompt)["context"]
    needle = f"One of the special magic numbers for {example.key} is: {example.value}."
    rest = context.replace(needle, "").replace("  ", " ").strip()
    assert rest in " ".join((ESSAY * 10).split())


def test_the_same_seed_the_same_needles():
    task = NeedleTask(length=1024)
    assert needle_examples(task, 5, 7) == needle_examples(task, 5, 7)
    assert needle_examples(task, 5, 7) != needle_examples(task, 5, 8)
    many = needle_examples(task, 300, 0)
    assert len({e.value for e in many}) > 295
    assert len({e.key for e in many}) > 200


def test_an_answer_counts_if_the_value_is_in_it():
    assert found(" 1234567. What", "1234567")
    assert not found(" 1234568.", "1234567")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "word"}, "kind must be one of"),
        ({"length": 400}, "length must be at least"),
        ({"answer_bytes": 0}, "answer_bytes must be at least 1"),
    ],
)
def test_wrong_tasks(options, message):
    with pytest.raises(DataError, match=message):
        NeedleTask(**options)


@pytest.mark.parametrize("haystack", [None, "", "  "])
def test_natural_needles_need_a_haystack(haystack):
    with pytest.raises(DataError, match="needs a haystack"):
        needle_examples(NeedleTask(kind="uuid", length=1024), 1, 0, haystack)


def test_answers_follow_the_prompt():
    task = NeedleTask(length=512, answer_bytes=8, even=True)
    examples = needle_examples(task, 3, 0)
    batch = collate_needles(examples)
    assert batch.tokens.shape == (3, 512)
    asked = batch.tokens[:, 1:][batch.answers].reshape(3, -1)
    assert [bytes(row.tolist()).decode() for row in asked] == [f" {e.value}" for e in examples]
    batches = NeedleBatches(task, 2, 2, 0)
    first, second = list(needle_loader(batches)), list(batches)
    assert not torch.equal(first[0].tokens, second[0].tokens)
    fixed = NeedleBatches(task, 2, 2, 0, fixed=True)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(fixed, fixed, strict=True))


class Oracle(LanguageNetwork):
    """Finds the needle by reading the prompt, to see that finding is counted right."""

    def forward(self, tokens, state=None, mask=None):
        logits = torch.zeros(*tokens.shape, 257)
        if state is None:
            text = [bytes(row.tolist()).decode() for row in tokens]
            self.answers = [f" {re.search(r'is: ([0-9]+)', t)[1]}." + "x" * 20 for t in text]
            self.said = 0
        for row, answer in enumerate(self.answers):
            logits[row, -1, ord(answer[self.said])] = 1
        self.said += 1
        return logits, self.answers


def test_accuracy_counts_what_is_found():
    network = Oracle(LanguageConfig(vocabulary=257, backbone=BackboneConfig(dim=8, layers=1, heads=2)))
    examples = needle_examples(NeedleTask(length=700, even=True), 10, 0)
    assert needle_accuracy(network, examples, 16, batch=4) == 1
    spoiled = [e._replace(value="0000000") for e in examples[:4]] + examples[4:]
    assert needle_accuracy(network, spoiled, 16, batch=4) == 0.6


@pytest.mark.parametrize("variant", ["lmm", "mac"])
def test_a_network_trains_on_needles(variant):
    with temporary_seed(0):
        config = BackboneConfig(variant=variant, dim=16, layers=1, heads=2, window=16, chunk_size=16)
        network = LanguageNetwork(LanguageConfig(vocabulary=257, backbone=config))
    task = NeedleTask(length=512, answer_bytes=8, even=True)
    training, validation = NeedleBatches(task, 4, 12, 0), NeedleBatches(task, 4, 1, 1, fixed=True)
    options = TrainingConfig(max_epochs=2, learning_rate=1e-2)
    history = train(network, answer_loss, needle_loader(training), needle_loader(validation), options)
    assert history.validation_loss[-1] < 3.5, "digits are known to be digits"
    assert history.validation_loss[-1] < history.validation_loss[0]
    assert needle_accuracy(network, needle_examples(NeedleTask(length=600, even=True), 4, 2), 16) <= 1


@pytest.mark.parametrize(("variant", "memories"), [("lmm", 2), ("mac", 2), ("mag", 2), ("mal", 2), ("attention", 0)])
def test_step_sizes_are_those_of_all_memories(variant, memories):
    config = BackboneConfig(variant=variant, dim=16, layers=2, heads=2, window=8, chunk_size=4, initial_step=0.1)
    network = LanguageNetwork(LanguageConfig(vocabulary=257, backbone=config))
    with record_gates(network) as gates:
        network(torch.randint(256, (3, 20)))
    network(torch.randint(256, (3, 20)))  # no longer watched
    assert len({g.memory for g in gates}) == memories
    for theta in (g.step_size for g in gates):
        assert theta.shape[::2] == (3, 2)
        assert theta.mean().item() == pytest.approx(0.1, rel=0.2)
