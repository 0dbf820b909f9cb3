"""What decisions weigh, with the share of each source."""

from __future__ import annotations

from proxy.dispatch.stats import Observed
from proxy.routing.adapt import Adapt, Signal
from proxy.routing.climb import Ground
from proxy.routing.policy import PROFILES, AdaptPolicy, RoutingPolicy, Weights
from proxy.routing.router import Router, new_memory
from proxy.routing.weights import in_force
from proxy.types import Classification, Model, Price, Priors

MODELS = (
    Model("seen", "p", "s", {"code": 0.9}, weights=Priors(0.8, 0.9), price=Price(1.0, 2.0)),
    Model("unseen", "p", "u", weights=Priors(0.4, 0.6)),
)
POLICY = RoutingPolicy(adapt=AdaptPolicy(enabled=True))


def ground(policy: RoutingPolicy = POLICY) -> Ground:
    memory = new_memory(policy, lambda: 0.0)
    seen = Classification((("code", 1.0),))
    return Router(policy, MODELS, (), lambda _: seen, memory, lambda _: frozenset(), lambda _: None).ground


def adapt() -> Adapt:
    return Adapt(POLICY.adapt, lambda: 0.0, lambda *_: None)


def view(model: str) -> Observed | None:
    return Observed(success=0.5, ttft=3.0, evidence=10.0) if model == "seen" else None


def test_a_term_tells_its_prior_what_was_seen_and_what_is_scored() -> None:
    told = in_force(ground(), view, adapt())["models"]
    assert told["seen"]["latency"] == {
        "value": 0.7, "prior": 0.9, "observed": 0.7, "from": "registry, observations",
    }  # fmt: skip
    assert told["seen"]["success"]["value"] == 0.75
    assert told["unseen"]["latency"] == {"value": 0.6, "prior": 0.6, "observed": 0.6, "from": "registry"}


def test_what_fades_while_it_is_looked_at_was_not_moved() -> None:
    looks = iter(range(10, 0, -1))

    def fading(model: str) -> Observed:
        return Observed(success=0.5, ttft=3.0, evidence=float(next(looks)))

    assert (
        in_force(ground(), fading, adapt())["models"]["seen"]["latency"]["from"] == "registry, observations"
    )


def test_what_lasting_evidence_has_moved_is_told_apart() -> None:
    moving = adapt()
    for _ in range(200):
        moving.observe("unseen", Signal.SUCCESS, 0.0)
    term = in_force(ground(), view, moving)["models"]["unseen"]["success"]
    assert term["value"] < term["observed"] == 1.0
    assert term["from"] == "registry, adapt"


def test_profiles_that_a_trial_has_changed_are_told_with_what_was_written() -> None:
    assert in_force(ground(), view, adapt())["changed"] == {}
    policy = RoutingPolicy(
        profiles={**PROFILES, "balanced": Weights(cost=4.0)},
        worth={"balanced": Weights(), "fast": PROFILES["fast"]},
        adapt=AdaptPolicy(enabled=True, trials=24.0),
    )
    told = in_force(ground(policy), view, adapt())
    assert [
        (name, sides["written"]["cost"], sides["now"]["cost"]) for name, sides in told["changed"].items()
    ] == [("balanced", 1.0, 4.0)]
    assert told["adapt"]["trials"] == 24.0


def test_an_unknown_price_says_where_its_guess_comes_from() -> None:
    told = in_force(ground(), view, adapt())["models"]
    assert told["seen"]["cost"] == {"input": 1.0, "output": 2.0, "from": "registry"}
    assert told["unseen"]["cost"]["from"] == "the median of the known prices"


def test_profiles_say_whether_they_are_as_built_in() -> None:
    assert set(in_force(ground(), view, adapt())["profiles_from"].values()) == {"as built in"}
    own = RoutingPolicy(profiles={**PROFILES, "balanced": Weights(quality=9.0), "mine": PROFILES["fast"]})
    told = in_force(ground(own), view, adapt())
    assert told["profiles"]["balanced"]["quality"] == 9.0
    assert [name for name, whence in told["profiles_from"].items() if whence == "routing.yml"] == [
        "balanced",
        "mine",
    ]
