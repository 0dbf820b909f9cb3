"""What one process tells another of its conversations, and how what is read becomes its own.

    conversations --written--> Letter ~~ bytes ~~> read, what goes further --> conversations

Moments are told by the wall's clock, which all processes share, and kept by each one's own: when the wall's
is set, that shifts what is on its way just then, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from msgspec import Struct

from proxy.effort import Effort
from proxy.routing.climb import Memory
from proxy.routing.conversation import Held, outlasts
from proxy.routing.memory import Recent

TURNS = 200
"""Conversations in one letter: some 10 kB, and less than half a millisecond's work."""


class Turn(Struct, frozen=True, array_like=True, gc=False):
    """How a turn left its conversation: a `Held` with places among the letter's words."""

    conversation: int
    at: float
    """Unix time."""
    model: int
    floor: int
    task: int
    tokens: int
    asked: int
    turns: int
    effort: Effort | None = None


class Letter(Struct, frozen=True, array_like=True, tag="turns"):
    """Some conversations, as one process knows them. Nothing that a caller said is in it."""

    words: tuple[str, ...]
    """Models and intents, each once."""
    turns: tuple[Turn, ...]


def write(conversations: Recent[Held], numbers: Iterable[int], ahead: float) -> Letter:
    """Of those among the numbers that are still known. `ahead`: seconds from the process's clock to the
    wall's."""
    words: dict[str, int] = {}
    places = count()
    turns = []
    for number in numbers:
        held = conversations.peek(number)
        if held is None:
            continue
        model, floor, task = [
            words[word] if word in words else words.setdefault(word, next(places))
            for word in (held.model, held.floor, held.task)
        ]
        at, tokens, asked = held.at + ahead, held.tokens, held.asked
        turns.append(Turn(number, at, model, floor, task, tokens, asked, held.turns, held.effort))
    return Letter(tuple(words), tuple(turns))


def read(letter: Letter, memory: Memory, ahead: float) -> None:
    """What counts of what is told and what is known. Raises IndexError where words are missing."""
    conversations, now = memory.conversations, memory.clock()
    words = [memory.once(word) for word in letter.words]  # there may be fifty thousand of each
    for turn in letter.turns:
        at = min(turn.at - ahead, now)
        model, floor, task = words[turn.model], words[turn.floor], words[turn.task]
        held = Held(model, floor, task, turn.tokens, turn.asked, at, turn.effort, turn.turns)
        known = conversations.peek(turn.conversation)
        if known is None or outlasts(held, known):
            conversations.put(turn.conversation, held, at)
