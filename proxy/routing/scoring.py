"""Ranks the candidates: who can serve the request at all, and who serves it best.

    total = capability + quality + latency + success - cost      each weighted by the profile

Every term is in 0..1 and has a row in `TERMS`:

    capability   how well the model does these intents: the registry's fitness, averaged by confidence
    quality      the share of such asks that it gets right: falls with difficulty, the more the weaker it is
    latency      how soon it is done: the registry's prior, replaced by observed ttft and tokens/s
    success      how often it answered lately
    cost         blended price of these tokens; 3 USD per million tokens is 0.5
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Protocol

from msgspec import Struct

from proxy.routing.policy import Weights
from proxy.types import Classification, Features, Model, Scored

EVIDENCE_HALF = 10.0
"""Observations at which what was seen weighs as much as the registry's prior."""
PATIENCE = 3.0
"""Seconds to a complete answer at which the observed latency term is 0.5."""
COST_HALF = 3.0
"""USD per million tokens, prompt and completion blended, at which the cost term is 0.5."""
TYPICAL_COMPLETION = 300
"""Tokens that an answer is taken to have when the caller sets no limit."""
ESTIMATE_SLACK = 1.05
"""The token estimate may be this much too low before a window counts as too small."""


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

Ranking = tuple[tuple[str, float], ...]
"""(registry id, total), best first."""


class Candidate(Struct, frozen=True):
    """A model with what of its scores doesn't depend on the request."""

    model: Model
    quality: float
    latency: float
    price_in: float
    price_out: float


def candidates(models: Iterable[Model]) -> tuple[Candidate, ...]:
    """Prepares models for ranking. An unknown price counts as the median of the known ones."""
    models = tuple(models)
    known = [m.price for m in models if m.price is not None]
    middle_in = median([p.input for p in known]) if known else COST_HALF
    middle_out = median([p.output for p in known]) if known else COST_HALF
    return tuple(
        Candidate(
            model=m,
            quality=m.weights.quality,
            latency=m.weights.latency,
            price_in=m.price.input if m.price else middle_in,
            price_out=m.price.output if m.price else middle_out,
        )
        for m in models
    )


def unfit(model: Model, features: Features) -> str | None:
    """Why this model can't serve the request, or None when it can."""
    if not features.needs <= model.supports:
        missing = ", ".join(sorted(features.needs - model.supports))
        return f"does not support {missing}"
    if not fits(model, features):
        return f"context window of {model.context_window} tokens is too small"
    return None


def fits(model: Model, features: Features) -> bool:
    """The prompt fits the window, with room for an answer."""
    reserve = min(features.completion_tokens or 1, model.max_output_tokens or model.context_window)
    return features.prompt_tokens + reserve <= model.context_window * ESTIMATE_SLACK


def rank(
    pool: Sequence[Candidate],
    features: Features,
    classification: Classification,
    weights: Weights,
    view: View,
) -> Ranking:
    """The candidates of `pool` by total, best first. Equal totals keep the registry's order."""
    totals = []
    for candidate in pool:
        capability, quality, latency, success, cost = terms(candidate, features, classification, view)
        total = (
            weights.capability * capability
            + weights.quality * quality
            + weights.latency * latency
            + weights.success * success
            - weights.cost * cost
        )
        totals.append((candidate.model.id, total))
    totals.sort(key=_by_total, reverse=True)
    return tuple(totals)


def explain(
    pool: Sequence[Candidate],
    features: Features,
    classification: Classification,
    weights: Weights,
    view: View,
) -> tuple[Scored, ...]:
    """As `rank`, with every term by name: for a reader."""
    named = {
        c.model.id: dict(zip(TERMS, terms(c, features, classification, view), strict=True)) for c in pool
    }
    ranking = rank(pool, features, classification, weights, view)
    return tuple(Scored(model=model, total=total, terms=named[model]) for model, total in ranking)


TERMS = ("capability", "quality", "latency", "success", "cost")
"""What `terms` gives, in its order. `Weights` has a field for each."""


def terms(
    candidate: Candidate, features: Features, classification: Classification, view: View
) -> tuple[float, float, float, float, float]:
    """One model's terms for one request, each 0..1."""
    observed = view(candidate.model.id)
    completion = features.completion_tokens or TYPICAL_COMPLETION
    latency, success = candidate.latency, 1.0
    if observed is not None and observed.evidence > 0.0:
        share = observed.evidence / (observed.evidence + EVIDENCE_HALF)
        latency += share * (_latency(observed, completion, latency) - latency)
        success += share * (observed.success - success)
    return (
        _capability(candidate.model.capabilities, classification),
        1.0 - classification.difficulty * (1.0 - candidate.quality),
        latency,
        success,
        _cost(candidate, features.prompt_tokens, completion),
    )


def _capability(fitness: dict[str, float], classification: Classification) -> float:
    weighted = sure = 0.0
    for intent, confidence in classification.intents:
        sure += confidence
        weighted += confidence * fitness.get(intent, 0.0)
    return weighted / sure if sure else 0.0


def _latency(observed: Observed, completion: int, prior: float) -> float:
    if observed.ttft is None:
        return prior
    writing = min(completion, TYPICAL_COMPLETION) / observed.speed if observed.speed else 0.0
    return PATIENCE / (PATIENCE + observed.ttft + writing)


def _cost(candidate: Candidate, prompt: int, completion: int) -> float:
    blended = (candidate.price_in * prompt + candidate.price_out * completion) / (prompt + completion)
    return blended / (blended + COST_HALF)


def _by_total(scored: tuple[str, float]) -> float:
    return scored[1]
