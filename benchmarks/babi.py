"""The world of the first five bAbI tasks: its files, what its sentences mean, and new stories of the same kind.

Sentences are lists of words in lower case; full stop and question mark are words. Source of tasks and files: Weston et
al., "Towards AI-complete question answering", 2015.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

Sentence = list[str]
PEOPLE = {"qa5": ("fred", "bill", "jeff", "mary")}
"""By task; the others have those below."""
FOUR = ("mary", "john", "daniel", "sandra")
PLACES = ("bathroom", "hallway", "garden", "office", "bedroom", "kitchen")
THINGS = ("football", "milk", "apple")
MOVES = ("moved to", "went to", "journeyed to", "travelled to", "went back to")
GETS = ("got", "took", "grabbed", "picked up")
DROPS = ("left", "discarded", "dropped", "put down")
GIVES = ("gave", "handed", "passed")
OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
FILLERS = {"the", "there", "back", "up", "down", "to", ".", "?"}
TASKS = ("qa1", "qa2", "qa3", "qa4", "qa5")
GAPS = {"qa1": 2, "qa2": 5, "qa3": 16, "qa5": 6}
"""Facts from one question of a story to the next, on average; in the files five questions follow on each other."""
THERE = {"qa2": (1.0, 0.2), "qa3": (0.2, 0.2), "qa5": (1.0, 0.2)}
"""How often a thing is got, and dropped, "there"."""

GRAMMAR = "is was where what who did give received before of".split()  # noqa: SIM905
"""Words of facts and questions beside all of these."""
GROUPS = (*PEOPLE.values(), FOUR, PLACES, THINGS, MOVES, GETS, DROPS, GIVES, tuple(OPPOSITE), tuple(FILLERS), GRAMMAR)
WORDS = sorted({word for group in GROUPS for text in group for word in text.split()})
"""All words of stories."""


class Story(NamedTuple):
    """Facts in their order, and a question about them."""

    facts: list[Sentence]
    question: Sentence
    answer: str
    """One word."""


def read_stories(path: Path) -> list[Story]:
    """Return each question of a bAbI file with all facts that stand before it."""
    stories: list[Story] = []
    facts: list[Sentence] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        number, rest = line.split(" ", 1)
        if number == "1":
            facts = []
        text, *answer = rest.split("\t")[:2]
        sentence = words(text)
        if answer:
            stories.append(Story(list(facts), sentence, answer[0].strip().lower()))
        else:
            facts.append(sentence)
    return stories


def words(text: str) -> Sentence:
    """Return the words of a sentence."""
    return text.lower().replace(".", " .").replace("?", " ?").split()


class World:
    """What is known after some facts."""

    def __init__(self, facts: Sequence[Sentence] = ()) -> None:
        self.at: dict[str, str] = {}
        """Place of each person."""
        self.holder: dict[str, str] = {}
        """Who has each thing that somebody has."""
        self.places: dict[str, list[str]] = defaultdict(list)
        """Where each thing has been, the last place last."""
        self.given: list[tuple[str, str, str]] = []
        """Giver, thing, receiver."""
        self.lies: list[tuple[str, str, str]] = []
        """Place, direction, place: the first lies in that direction of the second."""
        for fact in facts:
            self.learn(fact)

    def learn(self, fact: Sentence) -> None:
        """Take a fact in."""
        who, verb, *rest = (word for word in fact if word not in FILLERS)
        what = rest[0]
        if verb == "is":
            self.lies.append((who, what, rest[-1]))
        elif any(move.startswith(verb) for move in MOVES):
            self.at[who] = what
            for thing, owner in self.holder.items():
                if owner == who:
                    self._seen(thing, what)
        elif any(drop.startswith(verb) for drop in DROPS):
            self.holder.pop(what, None)
            self._seen(what, self.at.get(who))
        else:
            receiver = rest[1] if len(rest) > 1 else who
            if receiver != who:
                self.given.append((who, what, receiver))
            self.holder[what] = receiver
            self._seen(what, self.at.get(receiver))

    def answer(self, question: Sentence) -> str | None:
        """Return the answer to a question, or None where it is not known."""
        first, verb, *rest = (word for word in question if word not in FILLERS)
        if first == "where" and verb == "is":
            return self.at.get(rest[0]) or next(reversed(self.places[rest[0]]), None)
        if first == "where":
            before = [a for a, b in zip(self.places[rest[0]], self.places[rest[0]][1:], strict=False) if b == rest[2]]
            return before[-1] if before else None
        if verb == "is":
            return self._neighbour(*((rest[2], rest[0]) if rest[0] in OPPOSITE else (rest[0], OPPOSITE[rest[1]])))
        kind = "what" if first == "what" else verb
        for giver, thing, receiver in reversed(self.given):
            asked = {"what": (giver, "give", receiver), "did": (giver, "give", thing), "received": (thing,)}
            if tuple(rest) == asked.get(kind, (thing, receiver)[: len(rest)]):
                return {"what": thing, "did": receiver, "received": receiver}.get(kind, giver)
        return None

    def _seen(self, thing: str, place: str | None) -> None:
        if place and self.places[thing][-1:] != [place]:
            self.places[thing].append(place)

    def _neighbour(self, place: str, direction: str) -> str | None:
        """Return what lies in a direction of a place."""
        for one, way, other in self.lies:
            if (other, way) == (place, direction):
                return one
            if (one, OPPOSITE[way]) == (place, direction):
                return other
        return None


def draw_story(task: str, rng: np.random.Generator) -> Story:
    """Return a new story of a task."""
    if task == "qa4":
        return _draw_map(rng)
    people, facts, world = PEOPLE.get(task, FOUR), list[Sentence](), World()
    wanted = sum(1 + rng.poisson(GAPS[task] - 1) for _ in range(rng.integers(1, 6)))
    while True:
        fact = _draw_fact(task, people, world, rng)
        world.learn(fact)
        facts.append(fact)
        if len(facts) < wanted:
            continue
        if known := [(q, answer) for q in _questions(task, people, world) if (answer := world.answer(q))]:
            return Story(facts, *known[int(rng.integers(len(known)))])


def _draw_fact(task: str, people: Sequence[str], world: World, rng: np.random.Generator) -> Sentence:
    """Return what one of the people may do next."""

    def one(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))]

    who = one(people)
    kind = rng.random()
    mine = [thing for thing, owner in world.holder.items() if owner == who]
    if task != "qa1" and kind < 0.45:
        get_there, drop_there = THERE[task]
        here = world.at.get(who)
        free = [t for t in THINGS if t not in world.holder and world.places[t][-1:] in ([], [here])]
        if mine and task == "qa5" and kind < 0.25:
            other = one([p for p in people if p != who])
            return words(f"{who} {one(GIVES)} the {one(mine)} to {other} .")
        if mine and kind < 0.35:
            return words(f"{who} {one(DROPS)} the {one(mine)}{' there' * (rng.random() < drop_there)} .")
        if free:
            return words(f"{who} {one(GETS)} the {one(free)}{' there' * (rng.random() < get_there)} .")
    place = one([p for p in PLACES if p != world.at.get(who)])
    return words(f"{who} {one(MOVES)} the {place} .")


def _questions(task: str, people: Sequence[str], world: World) -> list[Sentence]:
    """Return all questions of a task."""
    if task == "qa1":
        return [words(f"where is {who} ?") for who in people]
    if task == "qa2":
        return [words(f"where is the {thing} ?") for thing in THINGS]
    if task == "qa3":
        return [words(f"where was the {thing} before the {place} ?") for thing in THINGS for place in PLACES]
    texts = {
        text
        for a, thing, b in world.given
        for text in (
            f"what did {a} give to {b} ?", f"who gave the {thing} ?", f"who gave the {thing} to {b} ?",
            f"who did {a} give the {thing} to ?", f"who received the {thing} ?",
        )
    }  # fmt: skip
    return [words(text) for text in sorted(texts)]


def _draw_map(rng: np.random.Generator) -> Story:
    """Return three places on a line, in two facts, and a question of one about its neighbour."""
    one, middle, other = (PLACES[i] for i in rng.permutation(len(PLACES))[:3])
    way = list(OPPOSITE)[int(rng.integers(4))]
    pairs, facts = [(one, way, middle), (middle, way, other)], []
    for place, direction, than in (pairs[i] for i in rng.permutation(2)):
        if rng.random() < 0.5:
            place, direction, than = than, OPPOSITE[direction], place
        facts.append(words(f"the {place} is {direction} of the {than} ."))
    world = World(facts)
    asked = [
        words(text)
        for place in (one, middle, other)
        for d in (way, OPPOSITE[way])
        for text in (f"what is {d} of the {place} ?", f"what is the {place} {d} of ?")
    ]
    known = [(question, answer) for question in asked if (answer := world.answer(question))]
    return Story(facts, *known[int(rng.integers(len(known)))])
