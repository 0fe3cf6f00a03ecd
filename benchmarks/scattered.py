"""Stories whose sentences are scattered over a text, as rows of words with questions at the end.

Axes: N rows, T words.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from benchmarks.babi import WORDS, Sentence, Story, draw_story
from titans_seq.domains.language.mqar import IGNORED, Recall

SHORTEST = 128
"""Words of a row at first."""
UNKNOWN = "<unk>"
Row = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Words and labels, (T,)."""


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

    def scatter(self, story: Story, length: int, rng: np.random.Generator) -> Row | None:
        """Return a row (T,) and its labels: the facts in their order among text, questions and answers at the end.

        None: there are more words than that. A text that is shorter than a row comes again and again.
        """
        facts = [self.words.encode(fact) for fact in story.facts]
        tail: Sentence = [word for question, answer in story.questions for word in (*question, answer)][:-1]
        room = length - sum(map(len, facts)) - len(tail)
        if room < 0:
            return None
        text = self.text.take(rng.integers(len(self.text)) + np.arange(room), mode="wrap")
        ends = np.concatenate([[0], np.flatnonzero(text == self.words.numbers["."]) + 1])
        places = np.sort(rng.choice(ends, len(facts)))
        parts = [
            part
            for pair in zip(np.split(text, places), [*facts, self.words.encode(tail)], strict=True)
            for part in pair
        ]
        labels = np.full(length, IGNORED)
        asked = length - len(tail) - 1
        for question, answer in story.questions:
            asked += len(question)
            labels[asked] = self.words.numbers[answer]
            asked += 1
        return np.concatenate(parts), labels

    def rows(self, stories: Iterator[Story], count: int, length: int, rng: np.random.Generator) -> Recall:
        """Return `count` rows (N, T) of the next stories that are short enough, or fewer where there are no more."""
        found: list[Row] = []
        for story in stories:
            if (row := self.scatter(story, length, rng)) is not None:
                found.append(row)
            if len(found) == count:
                break
        parts = ([row for row, _ in found], [labels for _, labels in found])
        return Recall(*(torch.from_numpy(np.array(part, np.int64).reshape(-1, length)) for part in parts))


class ScatteredStories(IterableDataset[Recall]):
    """Batches of new stories; rows double from SHORTEST to `longest` over the first 60 % of the training.

    A row holds one story or several shorter ones, one after the other, as a text that goes on.

    Args:
        longest: words of the longest rows, SHORTEST times a power of two.
        size: words of a batch; two rows at the least.
        count: batches of a pass.
    """

    progress = 0.0
    """Share of the training that is over; the training sets it."""

    def __init__(self, task: str, background: Background, longest: int, size: int, count: int, seed: int) -> None:
        super().__init__()
        self.lengths = [SHORTEST << power for power in range((longest // SHORTEST).bit_length())]
        self.background, self.size, self.count = background, size, count
        self.rng = np.random.default_rng(seed)
        self.stories = iter(lambda: draw_story(task, self.rng), None)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Recall]:
        for _ in range(self.count):
            known = 1 + min(len(self.lengths) - 1, int(self.progress / 0.6 * (len(self.lengths) - 1)))
            length, row = self.lengths[int(self.rng.integers(known))], self.lengths[known - 1]
            count = max(2, self.size // row) * (row // length)
            rows = self.background.rows(self.stories, count, length, self.rng)
            yield Recall(*(part.reshape(-1, row) for part in rows))
