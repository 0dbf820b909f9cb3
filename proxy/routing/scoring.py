"""Ranks the candidates: who serves this request best, term by term.

    total = capability + quality + latency + success - cost      each weighted by the profile

Every term is in 0..1 and has a name in `TERMS`:

    capability   how well the model does these intents: the registry's fitness, averaged by confidence
    quality      the share of such asks that it gets right: falls with difficulty, the more the weaker it is
    latency      how soon a typical answer is done: the registry's prior, replaced by what was observed
    success      how often it answered lately
    cost         blended price of these tokens; 3 USD per million tokens is 0.5

Who can serve the request at all is `proxy.routing.pool`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from statistics import median
from typing import NamedTuple, Protocol

from msgspec import Struct

from proxy.routing.policy import Weights
from proxy.types import Classification, Features, Model, Need, Scored

EVIDENCE_HALF = 10.0
"""Observations at which what was seen weighs as much as the registry's prior."""
PATIENCE = 3.0
"""Seconds to a typical answer at which the observed latency term is 0.5."""
COST_HALF = 3.0
"""USD per million tokens, prompt and completion blended, at which the cost term is 0.5."""
TYPICAL_COMPLETION = 300
"""Tokens that an answer is taken to have, unless the caller's limit is lower."""
LEADING = 4
"""Intents that count: those behind them are seldom more than doubt."""
UNSAID = 0.5
"""Fitness for every intent of a model whose registry entry names none at all."""


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
    """A model's terms that depend on no request, 0..1 each; or what each of them is moved by."""

    latency: float
    success: float
    quality: float


Standing = Mapping[str, Stand]
"""Registry id -> how it stands."""

Ranking = dict[str, float]
"""Registry id -> total, best first."""

TERMS = ("capability", "quality", "latency", "success", "cost")
"""What `explain` names. `Weights` has a field for each."""


class Candidate(Struct, frozen=True):
    """A model with what of its scores doesn't depend on the request."""

    model: Model
    id: str
    fitness: dict[str, float]
    """Intent -> 0..1; without those whose needs the model doesn't support."""
    unsaid: float
    """Fitness for intents that aren't in `fitness`."""
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
    middle_in = median([p.input for p in known]) if known else COST_HALF
    middle_out = median([p.output for p in known]) if known else COST_HALF
    return tuple(
        Candidate(
            model=m,
            id=m.id,
            fitness=_fitness(m, intent_needs or {}),
            unsaid=0.0 if m.capabilities else UNSAID,
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
    """The latency term of an answer that began after `ttft` seconds, at `speed` tokens a second."""
    writing = TYPICAL_COMPLETION / speed if speed else 0.0
    return PATIENCE / (PATIENCE + ttft + writing)


def written(features: Features) -> float:
    """The answer's share, 0..1, of all tokens that it is taken to need."""
    completion = min(features.completion_tokens or TYPICAL_COMPLETION, TYPICAL_COMPLETION)
    return completion / (features.prompt_tokens + completion)


class Scorer:
    """Ranks one pool by one profile's weights, as long as `standing` holds: what no request changes of a
    total is worked out here, once, and an intent's part in it when the intent is first met."""

    def __init__(self, pool: Sequence[Candidate], weights: Weights, standing: Standing) -> None:
        self._pool = pool
        self._capability = weights.capability
        self._ids = [candidate.id for candidate in pool]
        self._fixed = [_fixed(candidate, weights, standing[candidate.id]) for candidate in pool]
        self._fitness: dict[str, list[float]] = {}

    def rank(self, features: Features, classification: Classification) -> Ranking:
        """The candidates by total, best first. Equal totals keep the registry's order."""
        share = written(features)
        difficulty = classification.difficulty
        totals = [
            certain - difficulty * lacking + cheap / (dear + share * rise)
            for certain, lacking, cheap, dear, rise in self._fixed
        ]
        leading = classification.intents[:LEADING]
        sure = sum([confidence for _, confidence in leading]) or 1.0
        for intent, confidence in leading:
            part = confidence / sure
            fitness = self._fitness.get(intent) or self._fit(intent)
            totals = [total + part * fit for total, fit in zip(totals, fitness, strict=True)]
        return dict(sorted(zip(self._ids, totals, strict=True), key=_TOTAL, reverse=True))

    def _fit(self, intent: str) -> list[float]:
        """Every candidate's fitness for an intent, weighted."""
        column = [self._capability * c.fitness.get(intent, c.unsaid) for c in self._pool]
        self._fitness[intent] = column
        return column


def rank(
    pool: Sequence[Candidate],
    features: Features,
    classification: Classification,
    weights: Weights,
    standing: Standing,
) -> Ranking:
    """As `Scorer.rank`, for once."""
    return Scorer(pool, weights, standing).rank(features, classification)


def explain(
    pool: Sequence[Candidate],
    features: Features,
    classification: Classification,
    weights: Weights,
    standing: Standing,
) -> tuple[Scored, ...]:
    """As `rank`, with every term by name: for a reader."""
    ranking = rank(pool, features, classification, weights, standing)
    # A term is the total that is left when its weight is 1 and the others are 0.
    terms = {term: rank(pool, features, classification, alone, standing) for term, alone in _ALONE.items()}
    return tuple(
        Scored(model, total, {term: abs(values[model]) for term, values in terms.items()})
        for model, total in ranking.items()
    )


def _fitness(model: Model, intent_needs: Mapping[str, Iterable[Need]]) -> dict[str, float]:
    """The registry's fitness, 0 for the intents whose needs the model doesn't support."""
    lacking = {name: 0.0 for name, needs in intent_needs.items() if not model.supports.issuperset(needs)}
    return {**model.capabilities, **lacking}


def _fixed(candidate: Candidate, weights: Weights, stand: Stand) -> tuple[float, float, float, float, float]:
    """What no request changes of a total, for one of `difficulty` of which `written` is the answer's share:

    quality   weight * (1 - difficulty * lacking)
    cost      weight * price / (price + COST_HALF)  =  weight - cheap / (dear + written * rise)
    """
    w = weights
    return (
        w.quality + w.latency * stand.latency + w.success * stand.success - w.cost,
        w.quality * (1.0 - stand.quality),
        w.cost * COST_HALF,
        candidate.price_in + COST_HALF,
        candidate.price_out - candidate.price_in,
    )


def _seen(candidate: Candidate, observed: Observed | None) -> Stand:
    if observed is None or observed.evidence <= 0.0:
        return Stand(candidate.latency, 1.0, candidate.quality)
    share = observed.evidence / (observed.evidence + EVIDENCE_HALF)
    success = 1.0 + share * (observed.success - 1.0)
    if observed.ttft is None:
        return Stand(candidate.latency, success, candidate.quality)
    latency = swiftness(observed.ttft, observed.speed)
    return Stand(candidate.latency + share * (latency - candidate.latency), success, candidate.quality)


def _moved(stand: Stand, by: Stand | None) -> Stand:
    if by is None:
        return stand
    return Stand(*(min(max(term + shift, 0.0), 1.0) for term, shift in zip(stand, by, strict=True)))


_TOTAL = itemgetter(1)

_ALONE = {term: Weights(**{other: float(other == term) for other in TERMS}) for term in TERMS}
