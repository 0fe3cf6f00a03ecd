"""A needle in a haystack (S-NIAH): one sentence with a value, hidden in a long text, is asked for at its end.

Source: Hsieh et al., "RULER", arXiv 2404.06654, tasks niah_single_1 to 3; sentences and placement are those of its
published code. Its keys come from word lists that this package does not have; a short one stands in.
"""

import re
import uuid
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from titans_seq.errors import DataError

Kind = Literal["passkey", "number", "uuid"]
"""Number in repeated sentences, number in natural text, uuid in natural text."""

NEEDLE = "One of the special magic {kind}s for {key} is: {value}."
FRAME = (
    "A special magic {kind} is hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the {kind} afterwards.\n{context}\n"
    "What is the special magic {kind} for {key} mentioned in the provided text?"
)
ANSWER = " The special magic {kind} for {key} mentioned in the provided text is"
"""Ends the prompt: the model goes on with the value."""

SENTENCES = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
"""The haystack of pass-keys, again and again."""

DEPTHS = np.round(np.linspace(0, 100, 40)).astype(int)
"""Per cent of a natural text before the needle."""

ANSWER_BYTES = 128
"""A prompt leaves room for as many; the value counts if it stands anywhere in them."""

ADJECTIVES = (
    *("able", "bald", "bitter", "brave", "bright", "calm", "clever", "cold", "cruel", "damp", "dark", "eager"),
    *("fair", "famous", "fierce", "fresh", "gentle", "glad", "grand", "happy", "heavy", "honest", "humble", "jolly"),
    *("kind", "large", "lazy", "light", "lively", "loud", "lucky", "mellow", "noble", "quiet", "rough", "sweet"),
)
NOUNS = (
    *("anchor", "apple", "basket", "beach", "bell", "bridge", "candle", "castle", "cloud", "comet", "desert", "dragon"),
    *("engine", "feather", "forest", "garden", "hammer", "harbor", "island", "jacket", "kettle", "ladder", "lantern"),
    *("lizard", "marble", "mirror", "needle", "orchard", "paddle", "pepper", "pillow", "rabbit", "river", "saddle"),
)


@dataclass(frozen=True, kw_only=True)
class NeedleTask:
    """One task.

    Raises:
        DataError: unknown kind, or too short for a needle and its question.
    """

    kind: Kind = "passkey"
    """What is hidden in what."""

    length: int = 512
    """Bytes of the prompt and of the room for the answer at the most."""

    answer_bytes: int = ANSWER_BYTES
    """Room for the answer."""

    even: bool = False
    """The haystack's beginning is cut so that every prompt has the same number of bytes; the published code keeps
    sentences whole."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise DataError(f"kind must be one of {', '.join(get_args(Kind))}, not {self.kind!r}")
        if self.answer_bytes < 1:
            raise DataError(f"answer_bytes must be at least 1, not {self.answer_bytes!r}")
        least = self._frame(max(ADJECTIVES, key=len) + "-" + max(NOUNS, key=len)) + len(SENTENCES) + 2
        if self.length < least + self.answer_bytes:
            raise DataError(f"length must be at least {least + self.answer_bytes}, not {self.length!r}")

    @property
    def noun(self) -> str:
        """What the value is called."""
        return "uuid" if self.kind == "uuid" else "number"

    def _frame(self, key: str) -> int:
        """Return bytes of a prompt without its haystack."""
        value = "0" * (36 if self.kind == "uuid" else 7)
        needle = NEEDLE.format(kind=self.noun, key=key, value=value)
        return len(FRAME.format(kind=self.noun, key=key, context=needle) + ANSWER.format(kind=self.noun, key=key))

    def room(self, key: str) -> int:
        """Return bytes that the haystack may take."""
        return self.length - self.answer_bytes - self._frame(key)


class Needle(NamedTuple):
    """One example."""

    prompt: str
    value: str
    key: str
    depth: float
    """Share of the haystack before the needle."""


def needle_examples(task: NeedleTask, count: int, seed: int, haystack: str | None = None) -> list[Needle]:
    """Return `count` examples; the same for the same seed.

    Args:
        haystack: natural text for "number" and "uuid"; it is read from a random sentence on, again and again if it is
            short.

    Raises:
        DataError: no haystack where one is needed.
    """
    rng = np.random.default_rng(seed)
    sentences = None
    if task.kind != "passkey":
        sentences = [s for s in re.split(r"(?<=[.!?])\s+", " ".join((haystack or "").split())) if s.isascii()]
        if not any(sentences):
            raise DataError(f"a needle of kind {task.kind} needs a haystack of natural text")
    return [_example(task, rng, sentences) for _ in range(count)]


def found(answer: str, value: str) -> bool:
    """Return whether an answer counts: the value stands in it."""
    return value in answer


def _example(task: NeedleTask, rng: np.random.Generator, sentences: list[str] | None) -> Needle:
    key = f"{ADJECTIVES[rng.integers(len(ADJECTIVES))]}-{NOUNS[rng.integers(len(NOUNS))]}"
    value = str(rng.integers(10**6, 10**7))
    if task.kind == "uuid":
        value = str(uuid.UUID(bytes=rng.bytes(16), version=4))
    needle = NEEDLE.format(kind=task.noun, key=key, value=value)
    joint = "\n" if sentences is None else " "
    hay = _haystack(task, rng, sentences, task.room(key) - len(joint), len(joint))
    natural = sentences is not None
    place = int(len(hay) * (rng.choice(DEPTHS) / 100)) if natural else int(rng.integers(len(hay)))
    context = joint.join([*hay[:place], needle, *hay[place:]])
    before = len(joint.join(hay[:place]))
    prompt = FRAME.format(kind=task.noun, key=key, context=context) + ANSWER.format(kind=task.noun, key=key)
    return Needle(prompt, value, key, before / max(1, len(joint.join(hay))))


def _haystack(
    task: NeedleTask, rng: np.random.Generator, sentences: list[str] | None, room: int, joint: int
) -> list[str]:
    """Return sentences of `room` bytes at the most, joints included; of exactly that if the task is even."""
    pool = [SENTENCES] if sentences is None else sentences
    start = int(rng.integers(len(pool)))
    found, used = list[str](), -joint
    while True:
        sentence = pool[(start + len(found)) % len(pool)]
        left = room - used - joint
        if len(sentence) > left:
            break
        found.append(sentence)
        used += joint + len(sentence)
    if task.even and left >= 0:
        front, more = "", 1  # the end of the sentences before
        while len(front) < left:
            front, more = f"{pool[(start - more) % len(pool)]} {front}", more + 1
        found.insert(0, front[-left:] if left else "")
    if not found:
        found.append(sentence[: max(0, room)])
    return found
