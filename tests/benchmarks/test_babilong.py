"""Questions about scattered facts: the world answers as bAbI's files do, its own stories are alike, rows hold them."""

import json

import numpy as np
import pytest
import torch

from benchmarks import babilong
from benchmarks.__main__ import execute
from benchmarks.babi import TASKS, WORDS, World, draw_story, read_stories, words
from benchmarks.scattered import Background, ScatteredStories, Words
from titans_seq import BackboneConfig
from titans_seq.domains.language.recall import RecallNetwork
from titans_seq.domains.language.vocabulary import IGNORED

TEXT = "the cat sat . a small dog ran to the river , and swam . it was late . " * 9


def stories_of(folder, task, part):
    (path,) = (folder / "language/babi").glob(f"{task}_*_{part}.txt")
    return read_stories(path)


def drawn(task, count=500):
    rng = np.random.default_rng(0)
    return [draw_story(task, rng) for _ in range(count)]


@pytest.mark.parametrize("task", TASKS)
def test_the_world_answers_as_the_files_do(real_data, task):
    """Two questions of qa5 in each file are answered there by a gift that was not the last one."""
    for part in ("train", "test"):
        stories = stories_of(real_data, task, part)
        wrong = [story for story in stories if World(story.facts).answer(story.question) != story.answer]
        assert len(stories) == 1000
        assert len(wrong) == (2 if task == "qa5" else 0)


@pytest.mark.parametrize("task", TASKS)
def test_new_stories_are_like_those_of_the_files(real_data, task):
    def known(stories):
        return {word for s in stories for part in (*s.facts, s.question, [s.answer]) for word in part}

    own, files = drawn(task, 1000), stories_of(real_data, task, "train")
    assert known(own) == known(files) <= set(WORDS)
    for measure, within in ((lambda s: len(s.facts), 0.1), (lambda s: sum(map(len, s.facts)) / len(s.facts), 0.02)):
        assert np.mean([*map(measure, own)]) == pytest.approx(np.mean([*map(measure, files)]), rel=within)


@pytest.mark.parametrize("task", TASKS)
def test_answers_to_new_stories_hold(task):
    for story in drawn(task):
        assert World(story.facts).answer(story.question) == story.answer


def test_what_is_not_known_has_no_answer():
    world = World([words("Mary got the milk there."), words("The garden is north of the office.")])
    for question in ("where is mary ?", "where is the milk ?", "where was the milk before the garden ?",
                     "who gave the milk ?", "what is north of the garden ?"):  # fmt: skip
        assert world.answer(words(question)) is None
    assert world.answer(words("What is the office south of?")) == "garden"


def test_rows_hold_a_story_and_text():
    known = Words(TEXT, 200)
    background, rng = Background(TEXT, known), np.random.default_rng(0)
    (story,) = drawn("qa2", 1)
    tokens, labels = background.rows(iter([story]), 3, 512, rng)
    text = [known.names[number] for number in tokens[0]]
    assert tokens.shape == labels.shape == (1, 512)
    assert text[-len(story.question) :] == story.question
    assert known.names[labels[0, -1]] == story.answer
    assert (labels[0, :-1] == IGNORED).all()
    at = 0
    for fact in story.facts:  # all of them, in their order, whole, behind a sentence's end
        at = next(i for i in range(at, 512) if text[i : i + len(fact)] == fact)
        assert at == 0 or text[at - 1] == "."
        at += len(fact)
    assert background.scatter(story, 20, rng) is None
    assert not len(background.rows(iter([]), 3, 512, rng).tokens)


def test_rows_grow_in_training():
    known = Words(TEXT, 200)
    rows = ScatteredStories("qa1", Background(TEXT, known), 128, 256, 20, 0)
    assert {batch.tokens.shape for batch in rows} == {(8, 32)}
    for loss in [0.3] * 99 + [0.1] * 99:
        rows.growth.judge(loss)
    batches = list(rows)
    assert {batch.tokens.shape for batch in batches} == {(2, 128)}
    stories = [tuple(np.flatnonzero(batch.labels[0] != IGNORED)) for batch in batches]
    assert set(stories) == {(31, 63, 95, 127), (63, 127), (127,)}  # four stories in a row, two, or one


def test_rows_are_read_as_streams(monkeypatch):
    torch.manual_seed(0)
    network = RecallNetwork(BackboneConfig(variant="mag", dim=8, layers=1, heads=1, chunk_size=4, window=8), 40)
    torch.nn.init.normal_(network.embedding.weight)
    tokens = torch.randint(40, (3, 64))
    whole = babilong.answer(network, tokens)
    monkeypatch.setattr(babilong, "PIECE", 24)
    assert torch.equal(babilong.answer(network, tokens), whole)


@pytest.mark.slow
def test_babilong(real_data, tmp_path, capsys):
    sizes = ["--dim", "16", "--steps", "4", "--words", "256", "--trained", "64", "--seeds", "1", "--tests", "5"]
    models = ["--models", "mag", "windowed attention", "--lengths", "128", "600"]
    assert execute(["babilong", *sizes, *models, "--output", str(tmp_path)]) == 0
    assert "% of qa1 answered" in capsys.readouterr().out
    (written,) = tmp_path.glob("babilong-qa1-*.json")
    memory, attention = json.loads(written.read_text())["runs"]
    assert set(memory["answered"]) == {"128", "600"}
    assert memory["questions"] == {"128": 5, "600": 5}
    assert attention["parameters"] < memory["parameters"]
    assert len(list(tmp_path.glob("babilong-qa1-*.png"))) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "qa6"], "task must be one of qa1"),
        (["--models", "gru"], "models must be some of"),
        (["--trained", "100"], "32 times a power of two"),
        (["--lengths", "0"], "lengths must be at least 1"),
        (["--steps", "0"], "steps must be at least 1"),
        (["--dim", "7"], "multiple of heads"),
    ],
)
def test_wrong_options_are_one_line(options, message, capsys):
    assert execute(["babilong", *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
