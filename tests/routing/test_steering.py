"""Wishes for `auto`: whom a list leaves, how the dial leans, and that the whole plan keeps to them."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import ApiError
from proxy.routing import judge
from proxy.routing.grounds import grounds, past
from proxy.routing.policy import PROFILES, Condition, JudgePolicy, RoutingPolicy, Rule, Weights
from proxy.routing.steering import Helm, leaning
from proxy.types import AutoRouter
from tests.routing.test_router import MODELS, ask, house, planned, refused

NAMES = {
    "anthropic/haiku": "anthropic/haiku",
    "anthropic/opus": "anthropic/opus",
    "groq/small": "groq/small",
    "small": "groq/small",
    "or/anthropic/opus": "or/anthropic/opus",
}
EVERYBODY = frozenset(NAMES.values())


@pytest.mark.parametrize(
    ("allowed", "excluded", "expected"),
    [
        pytest.param(("anthropic/*",), (), {"anthropic/haiku", "anthropic/opus"}, id="a provider"),
        pytest.param(("groq/small",), (), {"groq/small"}, id="an id"),
        pytest.param(("small",), (), {"groq/small"}, id="an alias"),
        pytest.param(("sm*",), (), {"groq/small"}, id="aliases by pattern"),
        pytest.param(("*opus",), (), {"anthropic/opus", "or/anthropic/opus"}, id="a star goes over slashes"),
        pytest.param(("*/*/*",), (), {"or/anthropic/opus"}, id="several stars"),
        pytest.param(("*a*a*",), (), {"anthropic/haiku"},
                     id="stars in between"),
        pytest.param(("opus",), ("x",), set(), id="a part of a name is no name"),
        pytest.param(("ANTHROPIC/*",), (), set(), id="case counts"),
        pytest.param(("gone", "groq/*"), (), {"groq/small"}, id="who isn't here is passed over"),
        pytest.param(("*",), ("anthropic/*",), {"groq/small", "or/anthropic/opus"}, id="all but a provider"),
        pytest.param(None, ("small",), EVERYBODY - {"groq/small"}, id="all but an alias"),
        pytest.param(("anthropic/*",), ("*opus",), {"anthropic/haiku"}, id="an exclusion wins"),
    ],
)  # fmt: skip
def test_who_is_allowed(
    allowed: tuple[str, ...] | None, excluded: tuple[str, ...], expected: frozenset[str]
) -> None:
    helm, wish = Helm(NAMES), AutoRouter(allowed, excluded)
    if expected:
        assert helm.steer(wish).allowed == expected
    else:
        with pytest.raises(ApiError):
            helm.steer(wish)


def test_a_list_of_everybody_is_none() -> None:
    assert Helm(NAMES).steer(AutoRouter(("*",))).allowed is None


def test_hostile_patterns_take_no_time() -> None:
    helm = Helm({"a" * 200: "a" * 200})
    with pytest.raises(ApiError):
        helm.steer(AutoRouter(("*a" * 127 + "b",) * 100))


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_the_dial(profile: str) -> None:
    weights = PROFILES[profile]
    best, cheapest = leaning(weights, 0), leaning(weights, 10)
    assert (best.latency, best.success, best.cost) == (0, 0, 0)
    assert best.quality > 0
    assert cheapest == Weights(0, 0, 0, cheapest.cost)
    assert cheapest.cost > 0
    shares = [leaning(weights, dial).cost / leaning(weights, dial).quality for dial in range(10)]
    assert shares == sorted(set(shares)), "each step leans further to cost"


def test_the_middle_of_the_dial_is_the_profile() -> None:
    assert leaning(PROFILES["balanced"], 5) == PROFILES["balanced"]


# --- the whole plan ------------------------------------------------------------------------------


def only(*patterns: str, **members: Any) -> dict[str, Any]:
    return {"plugins": [{"id": "auto-router", "allowed_models": list(patterns), **members}]}


def test_nobody_else_is_in_the_plan() -> None:
    assert planned(house(), ask(**only("or/*"))).models == ("or/large", "or/plain"), "also no own fallback"


def test_a_rule_that_names_another_is_passed_over() -> None:
    rules = RoutingPolicy(rules=(Rule("code", Condition(), "groq/small"),))
    assert planned(house(rules), ask()).route == "rule:code"
    assert planned(house(rules), ask(**only("or/*"))).route == "score"


def test_the_default_is_one_of_them() -> None:
    last = RoutingPolicy(ladder=(), default_model="groq/small")
    assert planned(house(last), ask()).models[0] == "groq/small"
    assert set(planned(house(last), ask(**only("or/*"))).models) == {"or/large", "or/plain"}


def test_a_conversation_leaves_a_model_that_is_not_allowed() -> None:
    router = house()
    router.served(planned(router, ask(), "s"), "s", "groq/small")
    assert planned(router, ask(**only("or/*")), "s").models == ("or/large", "or/plain")


def test_a_remembered_decision_is_not_mixed_up() -> None:
    router = house()
    free = planned(router, ask())
    assert planned(router, ask(**only("or/plain"))).models == ("or/plain",)
    assert planned(router, ask(**only("or/plain"))).route == "cache"
    assert planned(router, ask()).models == free.models
    assert planned(router, ask()).route == "cache"


def test_the_fallbacks_of_a_named_model() -> None:
    assert planned(house(), ask("or/large")).models == ("or/large", "groq/small")
    assert planned(house(), ask("or/large", **only("or/*"))).models == ("or/large",)


def test_the_judge_sees_nothing_that_it_may_not() -> None:
    router = house(RoutingPolicy(judge=JudgePolicy(enabled=True, model="groq/small")), confidence=0.3)
    assert isinstance(router.plan(ask(), {}), judge.Question)
    assert planned(router, ask(**only("or/*"))).route == "score"
    traced = planned(router.apart(), ask(**only("or/*")), traced=True)
    assert ("judge", "passed: the caller leaves groq/small out") in [(r.step, r.answer) for r in traced.rungs]


def test_the_dial_turns_the_plan() -> None:
    router = house(difficulty=0.9)
    best = ask(plugins=[{"id": "auto-router", "cost_quality_tradeoff": 0}])
    cheapest = ask(plugins=[{"id": "auto-router", "cost_quality_tradeoff": 10}])
    assert planned(router, best).models[0] == "or/large"
    assert planned(router, cheapest).models[0] == "groq/small"
    assert planned(router, best).models[0] == "or/large", "each has a decision of its own to remember"


def test_a_list_that_leaves_nobody_names_the_field() -> None:
    error = refused(house(), ask(**only("mistral/*")))
    assert (error.status, error.code) == (400, "no_allowed_model")
    assert error.param == "plugins[0].allowed_models"
    assert "none of the 3 models" in error.message


def test_whom_the_list_leaves_must_be_able() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    error = refused(house(), ask(tools=[tool], **only("or/plain")))
    assert (error.status, error.code, error.param) == (400, "unsupported_capability", "tools")
    assert "No allowed model" in error.message


def test_without_any_model_the_list_is_not_to_blame() -> None:
    assert refused(house(models=()), ask(**only("or/*"))).status == 503


def test_the_trace_tells_the_wishes() -> None:
    plan = planned(house(), ask(**only("or/*", cost_quality_tradeoff=3)), traced=True)
    assert (plan.allowed, plan.tradeoff) == ({"or/large", "or/plain"}, 3)
    assert ("groq/small", "the caller leaves it out") in plan.filtered


def test_a_former_decision_keeps_to_them() -> None:
    plan = planned(house(), ask(**only("or/*", cost_quality_tradeoff=10)))
    assert plan.classification is not None
    before = past(grounds(plan, "e"), plan.profile, dict(plan.classification.intents), 0.5, None)
    again = house(models=tuple(reversed(MODELS))).decide_again(before)
    assert set(again.models) == {"or/large", "or/plain"}
    assert again.tradeoff == 10
