"""How hard an ask is: what its intents and its words say, and what graded outcomes taught about that.

    its intents' own difficulties, by confidence ----+
    the lexicon's evidence (proof, constraints, ...) +--> log-odds --> 0..1
    its numbers, lines and quotes: learned ----------+

It is the chance that a small model fails where a strong one succeeds. The lexicon knows what kinds of asks
there are, also those of which no outcomes were seen; the rest is a few weights on marks that any language
has (difficulty.json, made by tests/train/difficulty.py). Asks full of numbers or lines are no harder than
their kind: either both models manage them, or neither does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import exp, log, log1p
from pathlib import Path

import msgspec
from msgspec import Struct

EASIEST, HARDEST = 0.02, 0.98
"""Between which an intent's own difficulty is taken to lie."""

_DIGITS = bytes(byte if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))

MARKS: dict[str, Callable[[bytes], int]] = {
    "numbers": lambda ask: len(ask.translate(_DIGITS).split()),
    "lines": lambda ask: ask.count(b"\n"),
    "quotes": lambda ask: ask.count(b'"'),
}
"""What is counted in an ask, UTF-8."""


class Weight(Struct, frozen=True):
    """What a mark tells: `weight` log-odds times log(1 + its count), which counts up to `most`."""

    weight: float
    most: int


class Learned(Struct, frozen=True):
    """What outcomes taught, as log-odds beside those of the lexicon."""

    bias: float = 0.0
    marks: dict[str, Weight] = {}


NOTHING = Learned()


class Lesson:
    """`Learned` made ready for use. Immutable."""

    def __init__(self, learned: Learned) -> None:
        """Raises KeyError for a mark that isn't counted here."""
        self._bias = learned.bias
        self._marks = [
            (MARKS[name], one.most, [one.weight * log1p(count) for count in range(one.most + 1)])
            for name, one in learned.marks.items()
        ]

    def odds(self, ask: str) -> float:
        """Log-odds to be added for an ask."""
        raw, total = ask.encode("utf-8", "replace"), self._bias
        for count, most, worth in self._marks:
            total += worth[min(count(raw), most)]
        return total


def usual(difficulties: Iterable[tuple[float, float]]) -> float:
    """Log-odds of the difficulty that such asks usually have, from (confidence, an intent's own)."""
    mean = sum([share * own for share, own in difficulties])
    mean = min(HARDEST, max(EASIEST, mean))
    return log(mean / (1.0 - mean))


def share(odds: float) -> float:
    """Log-odds as 0..1."""
    return round(1.0 / (1.0 + exp(-max(odds, _LEAST))), 3)


_LEAST = -30.0
"""Log-odds of what is as good as impossible: far beyond it `exp` overflows."""


@lru_cache(1)
def shipped() -> Lesson:
    """The one that comes with the package."""
    data = Path(__file__).with_name("difficulty.json").read_bytes()
    return Lesson(msgspec.json.decode(data, type=Learned))
