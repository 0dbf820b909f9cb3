"""How the models stand whatever the request: the registry's priors, what was seen of them, what that moved.

model --candidates--> Candidate --standing--> Stand     the nearer to what was seen the more was seen;
                                                        then what lasting evidence has moved
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import NamedTuple, Protocol

from msgspec import Struct

from proxy.types import Model, Need

EVIDENCE_HALF = 10.0
"""Observations at which what was seen weighs as much as the registry's prior."""
PATIENCE = 3.0
"""Seconds to an answer at which the latency term is 0.5."""
TYPICAL_COMPLETION = 300
"""Tokens of a typical answer: the latency prior is for one, and intents that say nothing expect one."""
FIRST = 0.25
"""Part of a typical answer's time that is taken to go before its first token, until that was seen."""
UNPRICED = 3.0
"""USD per million tokens that all models are taken to cost where no price is known."""


class Observed(Protocol):
    """What was seen of a model lately."""

    @property
    def success(self) -> float:
        """0..1 of its attempts that answered."""

    @property
    def ttft(self) -> float | None:
        """Seconds to the first token, failures counted as slow; None: never seen."""

    @property
    def speed(self) -> float | None:
        """Tokens per second; None: never seen."""

    @property
    def evidence(self) -> float:
        """How many recent attempts this rests on, older ones counting less."""


View = Callable[[str], Observed | None]
"""Registry id -> what was observed, or None."""


class Stand(NamedTuple):
    """What is known of a model whatever the request, 0..1 each; or what each of these is moved by."""

    latency: float
    """The term for a typical answer."""
    success: float
    quality: float
    """The prior, moved by lasting evidence."""
    first: float = FIRST
    """Part of a typical answer's time that goes before its first token. Nothing moves it."""


Standing = Mapping[str, Stand]
"""Registry id -> how it stands."""


class Candidate(Struct, frozen=True):
    """A model with what of its scores doesn't depend on the request."""

    model: Model
    id: str
    fitness: dict[str, float]
    """Intent -> 0..1; 0 for those whose needs the model doesn't support."""
    unsaid: float | None
    """Fitness for intents that aren't in `fitness`; None: its quality is all that is known."""
    quality: float
    latency: float
    price_in: float
    price_out: float


def candidates(
    models: Iterable[Model], intent_needs: Mapping[str, Iterable[Need]] | None = None
) -> tuple[Candidate, ...]:
    """Prepares models for ranking. An unknown price counts as the median of the known ones.

    `intent_needs`: what a model must support to have any fitness for an intent.
    """
    models = tuple(models)
    known = [m.price for m in models if m.price is not None]
    middle_in = median([p.input for p in known]) if known else UNPRICED
    middle_out = median([p.output for p in known]) if known else UNPRICED
    return tuple(
        Candidate(
            model=m,
            id=m.id,
            fitness=_fitness(m, intent_needs or {}),
            unsaid=0.0 if m.capabilities else None,
            quality=m.weights.quality,
            latency=m.weights.latency,
            price_in=m.price.input if m.price else middle_in,
            price_out=m.price.output if m.price else middle_out,
        )
        for m in models
    )


def standing(pool: Iterable[Candidate], view: View, moved: Standing | None = None) -> Standing:
    """How every candidate stands: the nearer to what was observed the more was observed; then `moved`."""
    shifts = moved or {}
    return {
        candidate.id: _moved(_seen(candidate, view(candidate.id)), shifts.get(candidate.id))
        for candidate in pool
    }


def swiftness(ttft: float, speed: float | None) -> float:
    """The latency term of a typical answer that began after `ttft` seconds, at `speed` tokens a second."""
    return PATIENCE / (PATIENCE + ttft + _writing(speed))


def _fitness(model: Model, intent_needs: Mapping[str, Iterable[Need]]) -> dict[str, float]:
    """The registry's fitness, 0 for the intents whose needs the model doesn't support."""
    lacking = {name: 0.0 for name, needs in intent_needs.items() if not model.supports.issuperset(needs)}
    return {**model.capabilities, **lacking}


def _seen(candidate: Candidate, observed: Observed | None) -> Stand:
    if observed is None or observed.evidence <= 0.0:
        return Stand(candidate.latency, 1.0, candidate.quality)
    share = observed.evidence / (observed.evidence + EVIDENCE_HALF)
    success = 1.0 + share * (observed.success - 1.0)
    if observed.ttft is None:
        return Stand(candidate.latency, success, candidate.quality)
    latency = candidate.latency + share * (swiftness(observed.ttft, observed.speed) - candidate.latency)
    first = FIRST + share * (_first(observed.ttft, observed.speed) - FIRST)
    return Stand(latency, success, candidate.quality, first)


def _first(ttft: float, speed: float | None) -> float:
    whole = ttft + _writing(speed)
    return ttft / whole if whole > 0.0 else FIRST


def _writing(speed: float | None) -> float:
    """Seconds that a typical answer is written for."""
    return TYPICAL_COMPLETION / speed if speed else 0.0


def _moved(stand: Stand, by: Stand | None) -> Stand:
    if by is None:
        return stand
    latency, success, quality = (min(max(a + b, 0.0), 1.0) for a, b in zip(stand[:3], by[:3], strict=True))
    return Stand(latency, success, quality, stand.first)
