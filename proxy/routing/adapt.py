"""What lasting evidence makes of a model: how far success, latency and quality are moved, and when.

    attempt, feedback --> lately (20 and 200 sights) --+
                     \\-> usually --------------------+--sure?--> shift --steps--> in force, a log line

Noise alone moves nothing: a term is moved by what lately differs from usually only where the difference is
more than the width of a confidence interval. The short window finds within twenty sights what is plainly
broken, the long one what is a little worse. Evidence fades with a half-life too, and with it every shift: a
model that isn't asked any more is trusted again in the end, and asked now and then before (`policy.explore`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from math import log, sqrt
from typing import NamedTuple

from msgspec import Struct

from proxy.routing.policy import AdaptPolicy
from proxy.routing.standing import Stand, Standing, swiftness

STEP = 0.1
"""Shifts change by no less, but for going back to nothing: what a score rests on shall not flicker."""
SHORT, LONG = 20.0, 200.0
"""Sights that are lately: of two windows, the one that says more."""
SLOWNESS = 24
"""The usual is what was seen over so many half-lives ..."""
USUALLY = 5000.0
"""... or sights."""
EDGE = 0.01
"""What is usual is taken for no nearer to 0 or 1: there every surprise would be infinite."""
LEAST_SPREAD = 0.05
"""Standard deviation that values are taken to have at least."""


class Signal(StrEnum):
    """What is watched of a model, each in 0..1, and which of its terms is moved by it."""

    SUCCESS = "success"
    """1 for an attempt that answered, else 0."""
    LATENCY = "latency"
    """How soon an answer was done, as the latency term says it."""
    QUALITY = "quality"
    """Callers' feedback. What is usual is what callers say of all models."""


FIRST = {Signal.SUCCESS: (0.98, 20.0), Signal.LATENCY: (0.5, 0.0), Signal.QUALITY: (0.5, 0.0)}
"""What is taken for usual before anything was seen, and how many observations that is worth."""
ENOUGH = 20.0
"""Observations before anything is usual."""
LATEST = 10.0
"""Observations that can tell whether a shift is still borne out."""
RECOVERED, UNKNOWN = 0.1, 0.4
"""Below this part of a shift it is over; and the part that leaves everything to the evidence's fading."""


class Shift(Struct, frozen=True):
    """One term of one model in force."""

    by: float
    """Added to the term; within +-`policy.bound`."""
    lately: float
    usually: float
    evidence: float
    """How many observations `lately` rests on, an older one counting less."""


NONE = Shift(0.0, 0.0, 0.0, 0.0)


class Kept(Struct, frozen=True, array_like=True):
    """A mean on its way to another process."""

    weight: float
    weights: float
    sum: float
    squares: float
    age: float | None
    """Seconds since its last sight; None: it has none."""


class Lesson(Struct, frozen=True, array_like=True):
    """All that one process knows of one signal of a model, for another that begins."""

    model: str
    """Empty: of all models together."""
    signal: Signal
    lately: tuple[Kept, Kept] | None
    usually: Kept | None
    shift: Shift | None
    """In force."""


Moved = Callable[[str, Signal, float, Shift], None]
"""Is told the model, the signal, the former shift and the new one."""


class Adapt:
    """Watches all models. State room: the clock is handed in."""

    def __init__(self, policy: AdaptPolicy, clock: Callable[[], float], moved: Moved) -> None:
        self._policy = policy
        self._clock = clock
        self._moved = moved
        self._lately: dict[tuple[str, Signal], tuple[_Mean, _Mean]] = {}
        self._usually: dict[tuple[str, Signal], _Mean] = {}
        self._force: dict[tuple[str, Signal], Shift] = {}

    def observe(self, model: str, signal: Signal, value: float) -> None:
        """One sight of a model, 0..1."""
        if not self._policy.enabled:
            return
        now, key = self._clock(), (model, signal)
        half_life = self._policy.half_life
        lately = self._lately.get(key) or self._lately.setdefault(key, (_Mean(SHORT), _Mean(LONG)))
        for mean in lately:
            mean.add(value, now, half_life)
        self._usual(key).add(value, now, half_life * SLOWNESS)
        self._reconsider(key, now)

    def attempted(self, model: str, ok: bool, ttft: float | None, speed: float | None) -> None:
        """One attempt: whether it answered, after how many seconds, at how many tokens a second."""
        self.observe(model, Signal.SUCCESS, float(ok))
        if ok and ttft is not None:
            self.observe(model, Signal.LATENCY, swiftness(ttft, speed))

    def shift(self, model: str, signal: Signal) -> float:
        """What is added to a model's term now."""
        held = self._force.get((model, signal))
        return held.by if held is not None else 0.0

    def fade(self) -> None:
        """Looks at every shift again, as time has passed."""
        now = self._clock()
        for key in list(self._force):
            self._reconsider(key, now)

    def standing(self) -> Standing:
        """How far each model's terms are moved by now."""
        self.fade()
        models = {model for model, _ in self._force}
        return {
            model: Stand(**{signal: self.shift(model, signal) for signal in Signal}, first=0.0)
            for model in models
        }

    def shifts(self) -> dict[str, dict[Signal, Shift]]:
        """All that are in force, by model."""
        found: dict[str, dict[Signal, Shift]] = {}
        for (model, signal), held in self._force.items():
            found.setdefault(model, {})[signal] = held
        return found

    def lessons(self) -> list[Lesson]:
        """All that was learned."""
        now = self._clock()
        return [
            Lesson(
                *key,
                lately=(lately[0].kept(now), lately[1].kept(now)) if lately is not None else None,
                usually=usually.kept(now) if usually is not None else None,
                shift=self._force.get(key),
            )
            for key in {**self._usually, **self._lately}
            for lately, usually in [(self._lately.get(key), self._usually.get(key))]
        ]

    def learn(self, lessons: Iterable[Lesson]) -> None:
        """Begins with what another process knows; what was seen here already, counts more."""
        now = self._clock()
        for lesson in lessons if self._policy.enabled else ():
            key = lesson.model, lesson.signal
            if key in self._lately or key in self._usually:
                continue
            if lesson.usually is not None:
                self._usually[key] = _Mean(USUALLY).take(lesson.usually, now)
            if lesson.lately is not None:
                short, long = lesson.lately
                self._lately[key] = _Mean(SHORT).take(short, now), _Mean(LONG).take(long, now)
                self._put(key, lesson.shift or NONE)

    def reset(self, model: str | None = None) -> None:
        """Forgets one model, or all: the registry's values are in force."""
        keys = [key for key in self._lately if model in (None, key[0])]
        for key in keys:
            self._put(key, NONE)
            del self._lately[key]
            self._usually.pop(key, None)
        if model is None:
            self._usually.clear()  # what callers say of all models, too

    def retain(self, models: Iterable[str], policy: AdaptPolicy) -> None:
        """A reload: forgets the models that aren't named, and everything once it is switched off."""
        kept = set(models) if policy.enabled else set()
        for model in {model for model, _ in self._lately} - kept:
            self.reset(model)
        self._policy = policy

    def _reconsider(self, key: tuple[str, Signal], now: float) -> None:
        if self._policy.frozen:
            return
        policy, usually = self._policy, self._usual(key)
        usual = usually.at(now, policy.half_life * SLOWNESS)
        shift, held = NONE, self.shift(*key)
        short, long = self._lately[key]
        still = self._still(held, short.at(now, policy.half_life), usual)
        if held and still < RECOVERED:
            long.follow(short)
        if usual.evidence >= ENOUGH:
            shifts = [self._shifted(key[1], mean, usual, now) for mean in (short, long)]
            shift = max(shifts, key=lambda each: abs(each.by))
        if held and shift.by / held < 1.0 and still > 0.5:
            return  # it would become smaller, but the latest sights don't say so
        if abs(shift.by - held) >= STEP or (shift.by == 0.0 and held):
            self._put(key, shift)

    def _still(self, held: float, lately: Seen, usual: Seen) -> float:
        """The part of a shift that the latest sights bear out; unknown, as much as not to matter."""
        if not held or lately.evidence < LATEST:
            return UNKNOWN
        return self._policy.gain * (lately.mean - usual.mean) / held

    def _shifted(self, signal: Signal, lately: _Mean, usual: Seen, now: float) -> Shift:
        policy = self._policy
        seen = lately.at(now, policy.half_life)
        if not SURE[signal](seen, usual, log(1.0 / policy.doubt)):
            return NONE
        by = min(max(policy.gain * (seen.mean - usual.mean), -policy.bound), policy.bound)
        return Shift(by, seen.mean, usual.mean, seen.evidence)

    def _usual(self, key: tuple[str, Signal]) -> _Mean:
        signal = key[1]
        owner = ("", signal) if signal is Signal.QUALITY else key
        return self._usually.get(owner) or self._usually.setdefault(owner, _Mean(USUALLY, *FIRST[signal]))

    def _put(self, key: tuple[str, Signal], shift: Shift) -> None:
        before = self.shift(*key)
        if shift.by:
            self._force[key] = shift
        else:
            self._force.pop(key, None)
        if shift.by != before:
            self._moved(*key, before, shift)


class Seen(NamedTuple):
    """A mean as it stands."""

    mean: float
    spread: float
    """Standard deviation of the values."""
    evidence: float
    """How many observations it rests on."""


class _Mean:
    """A mean over about `limit` observations, which also lose half their weight with each half-life."""

    __slots__ = ("_keep", "_squares", "_sum", "_weight", "_weights", "_when")

    def __init__(self, limit: float, mean: float = 0.0, weight: float = 0.0) -> None:
        self._keep = 1.0 - 1.0 / limit
        self._weight = self._weights = weight
        """The sum of the weights, and of their squares."""
        self._sum = mean * weight
        self._squares = mean * mean * weight
        self._when: float | None = None

    def add(self, value: float, now: float, half_life: float) -> None:
        kept = min(self._faded(now, half_life), self._keep)
        self._weight = self._weight * kept + 1.0
        self._weights = self._weights * kept * kept + 1.0
        self._sum = self._sum * kept + value
        self._squares = self._squares * kept + value * value
        self._when = now

    def follow(self, other: _Mean) -> None:
        """Forgets what only this one still knows."""
        self._weight, self._weights = other._weight, other._weights
        self._sum, self._squares = other._sum, other._squares
        self._when = other._when

    def kept(self, now: float) -> Kept:
        age = max(now - self._when, 0.0) if self._when is not None else None
        return Kept(self._weight, self._weights, self._sum, self._squares, age)

    def take(self, kept: Kept, now: float) -> _Mean:
        self._weight, self._weights = kept.weight, kept.weights
        self._sum, self._squares = kept.sum, kept.squares
        self._when = now - kept.age if kept.age is not None else None
        return self

    def at(self, now: float, half_life: float) -> Seen:
        if not self._weight:
            return Seen(0.0, 0.0, 0.0)
        mean = self._sum / self._weight
        spread = sqrt(max(self._squares / self._weight - mean * mean, 0.0))
        # As many equally weighted ones would leave the mean as uncertain (Kish's effective sample size).
        evidence = self._weight * self._weight / self._weights
        return Seen(mean, spread, evidence * self._faded(now, half_life))

    def _faded(self, now: float, half_life: float) -> float:
        return 0.5 ** ((now - self._when) / half_life) if self._when is not None else 1.0


def rate(seen: Seen, usual: Seen, surprise: float) -> bool:
    """Whether a share of successes is surely not the usual one; `surprise`: ln(1 / the chance of noise).

    Chernoff's bound, n * KL(seen, usual), as in KL-UCB (Garivier and Cappé, 2011): tight for rare failures.
    """
    usually = min(max(usual.mean, EDGE), 1.0 - EDGE)
    return seen.evidence * divergence(seen.mean, usually) > surprise


def level(seen: Seen, usual: Seen, surprise: float) -> bool:
    """The same for a mean of values with a known spread, by the normal distribution."""
    spread = max(usual.spread, LEAST_SPREAD)
    return seen.evidence * (seen.mean - usual.mean) ** 2 > 2.0 * spread * spread * surprise


def divergence(p: float, q: float) -> float:
    """Kullback and Leibler's between two coins, in nats; `q` is neither 0 nor 1."""
    first = p * log(p / q) if p > 0.0 else 0.0
    return first + ((1.0 - p) * log((1.0 - p) / (1.0 - q)) if p < 1.0 else 0.0)


SURE: dict[Signal, Callable[[Seen, Seen, float], bool]] = {
    Signal.SUCCESS: rate,
    Signal.LATENCY: level,
    Signal.QUALITY: level,
}
"""Every signal has one."""
