"""What decisions weigh now, for a reader: profiles, each model's terms, and where they come from.

prior      the registry's
observed   after what was seen lately: the more was seen, the less is left of the prior
value      after what lasting evidence has moved: this is what is scored
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from proxy.routing import scoring
from proxy.routing.adapt import Adapt, Signal
from proxy.routing.climb import Ground
from proxy.routing.policy import PROFILES, RoutingPolicy
from proxy.routing.standing import Candidate, Stand, View, standing

DIGITS = 4
AS_BUILT_IN = "as built in"
"""Of a profile: whether routing.yml spells the same numbers or leaves them out."""


def in_force(ground: Ground, view: View, adapt: Adapt) -> dict[str, Any]:
    """Of one process: what it has observed is its own."""
    candidates = ground.pools.all
    seen = {each.id: view(each.id) for each in candidates}.get  # once: it fades by the second
    prior = standing(candidates, lambda _: None)
    observed = standing(candidates, seen)
    value = standing(candidates, seen, adapt.standing())
    profiles = ground.policy.profiles
    return {
        "object": "weights",
        "profiles": {
            name: {term: getattr(weights, term) for term in scoring.TERMS}
            for name, weights in profiles.items()
        },
        "profiles_from": {
            name: AS_BUILT_IN if weights == PROFILES.get(name) else "routing.yml"
            for name, weights in profiles.items()
        },
        "changed": _changed(ground.policy),
        "adapt": {
            "enabled": ground.policy.adapt.enabled,
            "frozen": ground.policy.adapt.frozen,
            "trials": ground.policy.adapt.trials,
        },
        "models": {
            each.id: _terms(each, prior[each.id], observed[each.id], value[each.id]) for each in candidates
        },
    }


def _changed(policy: RoutingPolicy) -> dict[str, Any]:
    """Profile -> its weights as an operator wrote them, and now, where a trial has put others there."""
    return {
        name: {"written": asdict(former), "now": asdict(policy.profiles[name])}
        for name, former in policy.worth.items()
        if policy.profiles[name] != former
    }


def _terms(candidate: Candidate, prior: Stand, observed: Stand, value: Stand) -> dict[str, Any]:
    known = candidate.model.price is not None
    return {
        **{
            term: _term(getattr(prior, term), getattr(observed, term), getattr(value, term))
            for term in map(str, Signal)
        },
        "fitness": {"value": candidate.fitness, "elsewhere": candidate.unsaid, "from": "registry"},
        "cost": {
            "input": candidate.price_in,
            "output": candidate.price_out,
            "from": "registry" if known else "the median of the known prices",
        },
    }


def _term(prior: float, observed: float, value: float) -> dict[str, Any]:
    sources = ("registry", "observations" if observed != prior else "", "adapt" if value != observed else "")
    return {
        "value": round(value, DIGITS),
        "prior": round(prior, DIGITS),
        "observed": round(observed, DIGITS),
        "from": ", ".join(filter(None, sources)),
    }
