"""Stories whose sentences are scattered over a text, as rows of words with the question at the end.

Axes: N rows, T words.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from benchmarks.babi import WORDS, Story, draw_story
from benchmarks.growth import Growth
from titans_seq.domains.language.mqar import Recall
from titans_seq.domains.language.vocabulary import IGNORED

SHORTEST = 32
"""Words of a row at first."""
UNKNOWN = "<unk>"


class Words:
    """Numbers of words: those of the stories, then the most frequent ones of a text."""

    def __init__(self, text: str, size: int) -> None:
        frequent = (word for word, _ in Counter(text.lower().split()).most_common(size))
        self.names = list(dict.fromkeys([UNKNOWN, *WORDS, *frequent]))[:size]
        self.numbers = {word: number for number, word in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each word."""
        return np.array([self.numbers.get(word, 0) for word in words], np.int64)


class Background:
    """A text that stories are scattered over, between its sentences."""

    def __init__(self, text: str, words: Words) -> None:
        self.words = words
        self.text = words.encode(text.lower().split())

    def scatter(self, story: Story, length: int, rng: np.random.Generator) -> NDArray[np.int64] | None:
        """Return a row (T,): the facts in their order among text, and the question at the end.

        None: there are more words than that. A text that is shorter than a row comes again and again.
        """
        facts = [self.words.encode(fact) for fact in story.facts]
        question = self.words.encode(story.question)
        room = length - sum(map(len, (*facts, question)))
        if room < 0:
            return None
        text = self.text.take(rng.integers(len(self.text)) + np.arange(room), mode="wrap")
        ends = np.concatenate([[0], np.flatnonzero(text == self.words.numbers["."]) + 1])
        places = np.sort(rng.choice(ends, len(facts)))
        pieces = zip(np.split(text, places), [*facts, question], strict=True)
        return np.concatenate([part for pair in pieces for part in pair])

    def rows(self, stories: Iterator[Story], count: int, length: int, rng: np.random.Generator) -> Recall:
        """Return `count` rows (N, T) of the next stories that are short enough, or fewer where there are no more.

        The last word of each has a label: the answer.
        """
        rows, answers = [], []
        for story in stories:
            if (row := self.scatter(story, length, rng)) is not None:
                rows.append(row)
                answers.append(self.words.numbers[story.answer])
            if len(rows) == count:
                break
        labels = np.full((len(rows), length), IGNORED)
        labels[:, -1] = answers
        return Recall(torch.from_numpy(np.array(rows, np.int64).reshape(-1, length)), torch.from_numpy(labels))


class ScatteredStories(IterableDataset[Recall]):
    """Batches of new stories in rows that grow.

    A row holds one story or several shorter ones, one after the other, as a text that goes on.

    Args:
        longest: words of the longest rows, SHORTEST times a power of two.
        size: words of a batch; two rows at the least.
        count: batches of a pass.
    """

    def __init__(self, task: str, background: Background, longest: int, size: int, count: int, seed: int) -> None:
        super().__init__()
        self.growth = Growth(SHORTEST, longest)
        self.background, self.size, self.count = background, size, count
        self.rng = np.random.default_rng(seed)
        self.stories = iter(lambda: draw_story(task, self.rng), None)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Recall]:
        for _ in range(self.count):
            length, row = self.growth.draw(self.rng), self.growth.length
            count = max(2, self.size // row) * (row // length)
            rows = self.background.rows(self.stories, count, length, self.rng)
            yield Recall(*(part.reshape(-1, row) for part in rows))
