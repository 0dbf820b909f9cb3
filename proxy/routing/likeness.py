"""How alike an ask is to an intent's examples: in what it is about, and in what is wanted of it.

    ask -> words -> Vectors: its subject   \
        -> Semantic: the kind of thing asked  -> a point -> along each intent's direction -> chances

An intent's direction is the mean of its examples' points: nothing is trained, and a reload is all that an
example needs. How much a likeness says was learned from other invented intents (tests/train/likeness.py,
likeness.json): `scale` and `bias` make log-odds of it. What is strange to the vectors, as nearly all that
isn't English is, has no place there, be it an ask or an example: strange texts are alike for that alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from math import exp, sqrt
from operator import mul
from pathlib import Path

import msgspec
from msgspec import Struct

from proxy.routing import semantic, vectors
from proxy.routing.semantic import Semantic, words
from proxy.routing.vectors import Vectors

EXAMPLES, LENGTH = 100, 4_000
"""How many examples an intent may have, and characters each of them."""

FAMILIAR = 0.7
"""Share of words known as they stand below which a text is strange: 95 % of our English asks have 0.83 or
more, 90 % of those in German, French, Spanish and Italian 0.75 or less."""

_MOST = 12.0
"""Log-odds beyond which nothing is surer."""

_MIXED_UP = 1 / 3
"""Share of two intents' examples nearer to the other's from which on the two can't be told apart."""


class Kind(Struct, frozen=True):
    """An intent's log-probability by the learned pass: what it is on average, and times what it counts."""

    usual: float
    weight: float


class Taught(Struct, frozen=True):
    """What was learned of likeness."""

    scale: float
    bias: float
    kinds: dict[str, Kind]
    middle: tuple[float, ...]
    """Where texts lie on the whole: what all share tells nothing apart."""


class Direction(Struct, frozen=True):
    """The way from the middle of all asks to an intent's, of length 1."""

    subject: tuple[float, ...]
    kind: tuple[float, ...]
    middle: float
    """How far along the middle itself lies."""


class Likeness:
    """Chances that an ask is of an intent, by the examples of each. Immutable, safe to share."""

    def __init__(
        self,
        examples: Mapping[str, Sequence[str]],
        vectors: Vectors,
        meaning: Semantic,
        taught: Taught,
    ) -> None:
        self._vectors, self._meaning, self._taught = vectors, meaning, taught
        self._square = _dot(taught.middle, taught.middle)
        self._directions = {
            name: direction
            for name, asks in examples.items()
            if (direction := self.direction(asks)) is not None
        }

    def read(self, text: str, meant: Mapping[str, float] | None = None) -> dict[str, float]:
        """The chance of each intent that the ask is like, 0..1, together less than 1. `meant`: what the
        learned pass says of the text, where that is known."""
        placed = self._placed(text, meant)
        if placed is None:
            return {}
        odds = {name: self._odds(_along(placed, direction)) for name, direction in self._directions.items()}
        whole = 1.0 + sum(odds.values())
        return {name: one / whole for name, one in odds.items()}

    def direction(self, asks: Iterable[str]) -> Direction | None:
        """That of some asks; None when all of them are strange."""
        known = [placed for ask in asks if (placed := self._placed(ask)) is not None]
        if not known:
            return None
        mean = [sum(column) for column in zip(*map(self._point, known), strict=True)]
        length = sqrt(_dot(mean, mean)) or 1.0
        mean = [one / length for one in mean]
        subject, kind = tuple(mean[: self._vectors.width]), tuple(mean[self._vectors.width :])
        return Direction(subject, kind, _dot(subject, self._taught.middle))

    def along(self, ask: str, direction: Direction) -> float:
        """How far an ask lies along a direction; 0 when it is strange."""
        placed = self._placed(ask)
        return 0.0 if placed is None else _along(placed, direction)

    def _odds(self, along: float) -> float:
        return exp(min(_MOST, self._taught.scale * along + self._taught.bias))

    def _placed(self, text: str, meant: Mapping[str, float] | None = None) -> _Placed | None:
        added = self._vectors.add(set(words(text)))
        if added is None or added.familiar < FAMILIAR:
            return None
        sums = added.lanes
        length = sqrt(_dot(sums, sums)) or 1.0
        beyond = sqrt(max(0.0, 1.0 - 2.0 * _dot(sums, self._taught.middle) / length + self._square))
        meant = self._meaning.read(text) if meant is None else meant
        kind = [
            one.weight * (meant.get(name, one.usual) - one.usual) for name, one in self._taught.kinds.items()
        ]
        return _Placed(sums, length, beyond or 1.0, kind)

    def _point(self, placed: _Placed) -> list[float]:
        pairs = zip(placed.sums, self._taught.middle, strict=True)
        return [(one / placed.length - usual) / placed.beyond for one, usual in pairs] + placed.kind


class _Placed(Struct, frozen=True, gc=False):
    """Where an ask lies: its words' sum, how long that is and how far from the middle; its kind."""

    sums: Sequence[int]
    length: float
    beyond: float
    kind: list[float]


def _along(placed: _Placed, direction: Direction) -> float:
    subject = _dot(placed.sums, direction.subject) / placed.length - direction.middle
    return subject / placed.beyond + _dot(placed.kind, direction.kind)


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    total: float = sum(map(mul, left, right))
    return total


def unusable(examples: Sequence[str]) -> Iterator[str]:
    """What is wrong with an intent's examples, each with its path below the intent."""
    if len(examples) > EXAMPLES:
        yield f"examples: {len(examples)} are too many: keep the {EXAMPLES} most typical at most"
    for number, ask in enumerate(examples):
        if not ask.strip():
            yield f"examples[{number}]: is empty: write an ask or remove it"
        elif len(ask) > LENGTH:
            yield f"examples[{number}]: has {len(ask):,} characters: keep what is typical, {LENGTH:,} at most"


def doubtful(examples: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """(Intent, why its examples may not do what was meant)."""
    likeness = by_examples(examples)
    if likeness is None:
        return
    given = {name: asks for name, asks in examples.items() if asks}
    for name, asks in given.items():
        for number, ask in enumerate(asks):
            if likeness.direction([ask]) is None:
                why = "is not understood, for it is not English: nothing is learned from it"
                yield name, f"examples[{number}]: {why}"
    for one, other in combinations(given, 2):
        if _mixed_up(likeness, given[one], given[other]):
            yield one, f"examples: those of {other!r} are too much like them for the two to be told apart"


def _mixed_up(likeness: Likeness, left: Sequence[str], right: Sequence[str]) -> bool:
    """Whether examples, each looked at as if it weren't one, lie further along the other's direction."""
    strays = 0
    for own, others in ((left, right), (right, left)):
        beyond = likeness.direction(others)
        for number, ask in enumerate(own):
            rest = likeness.direction([*own[:number], *own[number + 1 :]])
            if rest and beyond and likeness.along(ask, beyond) > likeness.along(ask, rest):
                strays += 1
    return strays >= _MIXED_UP * (len(left) + len(right))


@lru_cache(1)
def taught() -> Taught:
    """What comes with the package."""
    return msgspec.json.decode(Path(__file__).with_name("likeness.json").read_bytes(), type=Taught)


def by_examples(examples: Mapping[str, Sequence[str]]) -> Likeness | None:
    """From what comes with the package; None, and nothing is read, where there are no examples."""
    given = {name: asks for name, asks in examples.items() if asks}
    return Likeness(given, vectors.shipped(), semantic.shipped(), taught()) if given else None
