"""Which decisions are drawn, with what chance, and what is kept of it."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.routing.explain import decide
from proxy.routing.explore import drawn
from proxy.routing.policy import AdaptPolicy, Condition, ExplorePolicy, RoutingPolicy, Rule, Step
from proxy.routing.replay import Stored
from proxy.routing.router import Router
from proxy.routing.standing import Stand
from proxy.types import RoutePlan
from tests.routing.test_grounds import replay, stored
from tests.routing.test_router import MODELS, PICTURE, ask, house, planned

ON = RoutingPolicy(explore=ExplorePolicy(share=0.2, models=3))
ORDER = ("or/large", "or/plain", "groq/small")
"""By total, for a hard ask."""
ANSWERED: list[dict[str, Any]] = [
    {"role": "user", "content": "write code"},
    {"role": "assistant", "content": "Here."},
    {"role": "user", "content": "and more of it"},
]
LOOP: list[dict[str, Any]] = [
    {"role": "user", "content": "write code"},
    {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]},
    {"role": "tool", "tool_call_id": "1", "content": "done"},
]


def drawing(*draws: float, policy: RoutingPolicy = ON, **how: Any) -> Router:
    """A router whose dice fall so."""
    dice = iter(draws)
    return house(policy, difficulty=0.9, chance=lambda: next(dice), **how)


def first(plan: RoutePlan) -> tuple[str, str]:
    return plan.models[0], plan.route


def test_a_share_of_the_decisions_goes_to_others_the_first_few_by_total() -> None:
    router = drawing(0.5, 0.05, 0.15, 0.2)
    assert tuple(planned(house(difficulty=0.9), ask()).ranking) == ORDER
    plans = [planned(router, ask(text=f"write code {number}")) for number in range(4)]
    assert [first(plan) for plan in plans] == [
        ("or/large", "score"),
        ("or/plain", "explore"),
        ("groq/small", "explore"),
        ("or/large", "score"),
    ]
    for plan in plans:
        assert plan.lot is not None
        assert plan.lot.chances == {"or/large": 0.8, "or/plain": 0.1, "groq/small": 0.1}
        assert set(plan.models) == set(ORDER), "the others stay as fallbacks"


def test_what_was_drawn_is_not_remembered() -> None:
    router = drawing(0.05, 0.5, 0.15, 0.5)
    plans = [first(planned(router, ask())) for _ in range(4)]
    assert plans == [
        ("or/plain", "explore"),
        ("or/large", "cache"),
        ("groq/small", "explore"),
        ("or/large", "cache"),
    ]


def test_every_share_is_what_it_is_called() -> None:
    chance = Random(7)
    router = house(ON, difficulty=0.9, chance=chance.random)
    counted = Counter(planned(router, ask()).models[0] for _ in range(4000))
    assert [round(counted[model] / 4000, 1) for model in ORDER] == [0.8, 0.1, 0.1]


@pytest.mark.parametrize(
    ("policy", "how", "fields"),
    [
        pytest.param(RoutingPolicy(), {}, {}, id="it is switched off"),
        pytest.param(replace(ON, ladder=(Step.SCORING,)), {}, {}, id="no ladder has its rung"),
        pytest.param(replace(ON, rules=(Rule("r", Condition(), "or/plain"),)), {}, {}, id="a rule holds"),
        pytest.param(ON, {}, {"messages": ANSWERED}, id="the conversation has begun"),
        pytest.param(ON, {}, {"messages": LOOP}, id="a model is at work with tools"),
        pytest.param(
            ON,
            {},
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            id="whoever is asked will be at work with tools",
        ),
        pytest.param(ON, {}, {"model": "or/plain"}, id="the caller named the model"),
        pytest.param(ON, {}, {"models": ["or/plain", "or/large"]}, id="the caller named some"),
        pytest.param(
            ON, {}, {"text": "Generate a concise, 3-5 word title with an emoji for the chat"}, id="a chore"
        ),
        pytest.param(ON, {"shut": {"or/plain", "groq/small"}}, {}, id="nobody else can be asked now"),
        pytest.param(ON, {"shut": set(ORDER)}, {}, id="nobody can be asked now"),
        pytest.param(
            ON,
            {},
            {"plugins": [{"id": "auto-router", "allowed_models": ["or/large"]}]},
            id="the caller allows nobody else",
        ),
    ],
)
def test_nothing_is_drawn_where(policy: RoutingPolicy, how: dict[str, Any], fields: dict[str, Any]) -> None:
    model = fields.pop("model", "auto")
    router = house(policy, difficulty=0.9, chance=lambda: 0.0, **how)
    plan, bare = (
        planned(router, ask(model, **fields)),
        planned(house(replace(policy, explore=ExplorePolicy()), difficulty=0.9, **how), ask(model, **fields)),
    )
    assert plan.lot is None and (plan.models, plan.route) == (bare.models, bare.route)


def test_a_need_is_never_given_up() -> None:
    seeing = (replace(MODELS[0], supports=MODELS[1].supports), *MODELS[1:])
    plan = planned(drawing(0.05, models=seeing), ask(messages=PICTURE))
    assert first(plan) == ("groq/small", "explore"), "or/plain sees nothing"
    assert plan.lot is not None and plan.lot.chances == {"or/large": 0.8, "groq/small": 0.2}


def test_who_was_drawn_stands_in_and_the_conversation_goes_to_whom_it_was_meant_for() -> None:
    router = drawing(0.05, 0.05)
    plan = planned(router, ask(), "session")
    assert first(plan) == ("or/plain", "explore")
    router.served(plan, "session", "or/plain")
    following = planned(router, ask(messages=ANSWERED), "session")
    assert following.models[0] == "or/large" and following.lot is None


def test_a_conversation_that_is_known_is_left_alone() -> None:
    router = drawing(0.5, 0.05)
    router.served(planned(router, ask(), "session"), "session", "or/large")
    again = planned(router, ask(text="write other code"), "session")
    assert again.models[0] == "or/large" and again.lot is None


def test_one_number_serves_what_was_moved_and_what_is_drawn() -> None:
    """Half of the decisions look past what was moved; of the others a fifth is drawn, and never both."""
    policy = replace(ON, adapt=AdaptPolicy(enabled=True, explore=0.5))
    router = drawing(0.4, 0.55, 0.65, 0.9, policy=policy, moved=lambda: {"or/large": Stand(0.0, 0.0, -0.9)})
    plans = [planned(router, ask()) for _ in range(4)]
    assert [plan.exploring for plan in plans] == [True, False, False, False]
    assert [plan.lot is None for plan in plans] == [True, False, False, False]
    assert [plan.route for plan in plans] == ["score", "explore", "cache", "cache"]
    assert plans[0].models[0] == "or/large" and plans[2].models[0] == "or/plain"
    assert [plan.lot.draw for plan in plans if plan.lot] == pytest.approx([0.1, 0.3, 0.8])


@pytest.mark.parametrize("draw", [0.0, 0.05, 0.15, 0.5])
@pytest.mark.parametrize("cached", [False, True])
def test_the_draw_is_kept_and_replayed(draw: float, cached: bool) -> None:
    router = drawing(*[0.5] * cached, draw)
    for _ in range(1 + cached):
        plan = planned(router, ask())
    for epoch in ("then", "now"):
        again = replay(house(ON, difficulty=0.9), epoch).take(stored(plan))
        assert again is not None and not again.changed and again.plan == plan.models
    record = msgspec.json.decode(stored(plan), type=Stored)
    assert record.grounds is not None and record.grounds.lot == plan.lot
    without = replay(house(difficulty=0.9)).plan(record)
    assert without.models[0] == "or/large" and without.lot is None


def test_a_trace_tells_it_and_an_explanation_the_chances() -> None:
    plan = planned(drawing(0.05), ask(), traced=True)
    assert plan.rungs[6].answer == "or/plain (explore): drawn instead of or/large, with a chance of 0.100"
    assert plan.origins[0] == "drawn"
    told = decide(house(ON, difficulty=0.9, chance=lambda: 0.0).apart(), ask())
    assert told["selected_model"] == "or/large"
    assert told["explore"] == {
        "chances": {"or/large": 0.8, "or/plain": 0.1, "groq/small": 0.1},
        "instead_of": None,
    }
    assert told["rungs"][6]["answer"] == "passed: with a chance of 0.200 another model would be drawn"
    assert decide(house(difficulty=0.9).apart(), ask())["explore"] is None


@given(
    odds=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6).map(
        lambda raw: {str(place): each / sum(raw) for place, each in enumerate(raw)}
    ),
    draw=st.floats(0.0, 1.0, exclude_max=True),
)
def test_a_draw_is_somebody_and_small_ones_are_the_others(odds: dict[str, float], draw: float) -> None:
    model = drawn(odds, draw)
    assert model in odds
    assert (model == "0") is (draw >= sum(list(odds.values())[1:])) or draw == pytest.approx(1.0 - odds["0"])
