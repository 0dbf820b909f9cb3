"""How alike an ask is to an intent's examples: in what it is about, and in what is wanted of it.

    ask -> words -> Vectors: its subject -> along each intent's direction    \
                                         -> along what asks are about at all  >-> log-odds -> chances
        -> Semantic: the kind of thing asked -> as the examples' is, or not  /

An intent's direction is the mean of its examples' points: nothing is trained, and a reload is all that an
example needs. What speaks against it: that the ask lies near to what is asked at all (the background), and
that the learned pass is sure of its kind. What each of these counts was learned from other invented intents
(tests/train/likeness.py, likeness.json). What is strange to the vectors, as nearly all that isn't English is,
has no place there, be it an ask or an example: strange texts are alike for that alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from math import exp, sqrt
from operator import mul
from pathlib import Path

import msgspec
from msgspec import Struct

from proxy.routing import semantic, vectors
from proxy.routing.semantic import Semantic, words
from proxy.routing.vectors import Sum, Vectors

EXAMPLES, LENGTH = 100, 4_000
"""How many examples an intent may have, and characters each of them."""

FAMILIAR = 0.7
"""Share of words known as they stand below which a text is strange: 95 % of our English asks have 0.83 or
more, 90 % of those in German, French, Spanish and Italian 0.75 or less."""

_MOST = 12.0
"""Log-odds beyond which nothing is surer."""

_MIXED_UP = 0.4
"""Share of two intents' examples nearer to the other's from which on the two can't be told apart."""


class Kind(Struct, frozen=True):
    """An intent's log-probability by the learned pass: what it is on average, and what a standard deviation
    more says by itself."""

    usual: float
    counts: float


class Taught(Struct, frozen=True):
    """What was learned of likeness."""

    bias: float
    subject: float
    kind: float
    common: float
    spread: float
    """A standard deviation of what the learned pass says."""
    kinds: dict[str, Kind]
    middle: tuple[float, ...]
    """Where texts lie on the whole: what all share tells nothing apart."""
    background: bytes
    """Directions in which asks lie, a signed byte a lane."""

    @property
    def behind(self) -> list[tuple[float, ...]]:
        """The background's directions, each of length 1."""
        width = len(self.middle)
        lanes = memoryview(self.background).cast("b").tolist()
        return [unit(lanes[start : start + width]) for start in range(0, len(lanes), width)]


class Point(Struct, frozen=True, gc=False):
    """Where an ask lies."""

    subject: Sequence[float]
    """Of length 1, seen from the middle."""
    kind: Sequence[float]
    """In standard deviations from what is usual."""
    common: float
    """How near its subject lies to the nearest of the background's, -1..1."""


class Direction(Struct, frozen=True):
    """Where an intent's examples lie on the whole."""

    subject: tuple[float, ...]
    kind: tuple[float, ...]

    def along(self, point: Point) -> tuple[float, float]:
        """How far a point lies along it, in its subject (-1..1) and in its kind."""
        return _dot(self.subject, point.subject), self.kindred(point.kind)

    def kindred(self, kind: Sequence[float]) -> float:
        """How far an ask's kind is the examples' rather than the usual."""
        return _dot(self.kind, kind) - _dot(self.kind, self.kind) / 2


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
        self._axes = _Axes([taught.middle, *taught.behind])
        self._common = slice(1, len(self._axes.usual))
        self._directions: dict[str, Direction] = {}
        for name, asks in examples.items():
            if points := [point for ask in asks if (point := self.point(ask)) is not None]:
                self._directions[name] = direction(points)
        subjects = [direction.subject for direction in self._directions.values()]
        self._axes = _Axes([taught.middle, *taught.behind, *subjects])

    def read(self, listed: list[str], meant: Mapping[str, float] | None = None) -> dict[str, float]:
        """The chance of each intent that an ask of these `words` is like, 0..1, together less than 1.
        `meant`: what the learned pass says of it, where that is known."""
        placed = self._placed(listed, meant)
        if placed is None:
            return {}
        taught, kind = self._taught, placed.kind
        alone = taught.bias + taught.common * max(placed.along[self._common], default=0.0)
        alone += sum([one.counts * of for one, of in zip(taught.kinds.values(), kind, strict=True)])
        subjects = placed.along[self._common.stop :]
        odds = {
            name: _odds(alone + taught.subject * subject + taught.kind * direction.kindred(kind))
            for (name, direction), subject in zip(self._directions.items(), subjects, strict=True)
        }
        whole = 1.0 + sum(odds.values())
        return {name: one / whole for name, one in odds.items()}

    def point(self, text: str) -> Point | None:
        """None for what is strange."""
        placed = self._placed(words(text))
        if placed is None:
            return None
        pairs = zip(placed.sum.lanes, self._taught.middle, strict=True)
        subject = unit([one / placed.length - usual for one, usual in pairs])
        return Point(subject, placed.kind, max(placed.along[self._common], default=0.0))

    def _placed(self, listed: list[str], meant: Mapping[str, float] | None = None) -> _Placed | None:
        added = self._vectors.add(set(listed))
        if added is None or added.familiar < FAMILIAR:
            return None
        raw, zero = added.raw, added.zero
        length = sqrt(sum(map(mul, raw, raw)) - zero * (2 * sum(raw) - zero * len(raw))) or 1.0
        along = [one / length for one in self._axes.along(raw, zero)]
        beyond = sqrt(max(0.0, 1.0 - 2.0 * along[0] + self._square)) or 1.0
        seen = [(one - usual) / beyond for one, usual in zip(along, self._axes.usual, strict=True)]
        meant = self._meaning.of(listed) if meant is None else meant
        spread = self._taught.spread
        kind = [(meant.get(name, one.usual) - one.usual) / spread for name, one in self._taught.kinds.items()]
        return _Placed(added, length, seen, kind)


class _Placed(Struct, frozen=True, gc=False):
    """An ask's words' sum and how long that is; how far along each axis it lies, seen from the middle; its
    kind."""

    sum: Sum
    length: float
    along: list[float]
    kind: list[float]


class _Axes:
    """Directions, measured along in one go: of each lane one integer, which has a place for each of them."""

    def __init__(self, axes: Sequence[Sequence[float]]) -> None:
        """The first is the middle."""
        self.usual = [_dot(axis, axes[0]) for axis in axes]
        self._steps = [max(map(abs, axis)) / 127 or 1.0 for axis in axes]
        whole = [[round(one / step) for one in axis] for axis, step in zip(axes, self._steps, strict=True)]
        self._lanes = [
            sum(one << 32 * place for place, one in enumerate(lane)) for lane in zip(*whole, strict=True)
        ]
        self._whole = sum(self._lanes)
        self._lift = sum(_ZERO << 32 * place for place in range(len(axes)))

    def along(self, raw: Sequence[int], zero: int) -> list[float]:
        total = sum(map(mul, self._lanes, raw), self._lift - zero * self._whole)
        places = memoryview(total.to_bytes(4 * len(self._steps), "little")).cast("I")
        return [step * (one - _ZERO) for one, step in zip(places, self._steps, strict=True)]


_ZERO = 1 << 31
"""Nothing, of what lies to both sides of it: sums of WORDS rows of bytes along 128 lanes of bytes don't reach
that far."""


def direction(points: Sequence[Point]) -> Direction:
    """That of some points, one at least."""
    subject = unit([sum(column) for column in zip(*[point.subject for point in points], strict=True)])
    kind = [sum(column) / len(points) for column in zip(*[point.kind for point in points], strict=True)]
    return Direction(subject, tuple(kind))


def unit(lanes: Sequence[float]) -> tuple[float, ...]:
    """The same way, of length 1."""
    length = sqrt(_dot(lanes, lanes)) or 1.0
    return tuple([one / length for one in lanes])


def _odds(log: float) -> float:
    return exp(min(_MOST, log))


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
    known: dict[str, list[Point]] = {}
    for name, asks in examples.items():
        for number, ask in enumerate(asks):
            point = likeness.point(ask)
            if point is None:
                why = "is not understood, for it is not English: nothing is learned from it"
                yield name, f"examples[{number}]: {why}"
            else:
                known.setdefault(name, []).append(point)
    for one, other in combinations(known, 2):
        if _mixed_up(taught(), known[one], known[other]):
            yield one, f"examples: those of {other!r} are too much like them for the two to be told apart"


def _mixed_up(taught: Taught, left: Sequence[Point], right: Sequence[Point]) -> bool:
    """Whether examples, each looked at as if it weren't one, are more like the other's."""

    def like(point: Point, way: Direction) -> float:
        subject, kind = way.along(point)
        return taught.subject * subject + taught.kind * kind

    strays = 0
    for own, others in ((left, right), (right, left)):
        beyond = direction(others)
        for number, point in enumerate(own):
            rest = [*own[:number], *own[number + 1 :]]
            strays += bool(rest) and like(point, beyond) > like(point, direction(rest))
    return strays >= _MIXED_UP * (len(left) + len(right))


@lru_cache(1)
def taught() -> Taught:
    """What comes with the package."""
    return msgspec.json.decode(Path(__file__).with_name("likeness.json").read_bytes(), type=Taught)


def by_examples(examples: Mapping[str, Sequence[str]]) -> Likeness | None:
    """From what comes with the package; None, and nothing is read, where there are no examples."""
    given = {name: asks for name, asks in examples.items() if asks}
    return Likeness(given, vectors.shipped(), semantic.shipped(), taught()) if given else None
