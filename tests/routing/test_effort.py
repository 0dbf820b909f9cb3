"""How hard to think: by what of a request, and when nobody is told."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from proxy.effort import Effort
from proxy.routing import judge
from proxy.routing.effort import CACHED, CHORE, OWN, SAYS, STRUGGLES, by_difficulty
from proxy.routing.explain import described
from proxy.routing.policy import EffortPolicy, JudgePolicy, RoutingPolicy, StickyPolicy
from proxy.routing.router import Router
from proxy.types import Model
from tests.routing.test_router import MODELS, ask, house, planned

POLICY = EffortPolicy(enabled=True, low=0.2, high=0.6)
ON = RoutingPolicy(effort=POLICY)
THINKING: tuple[Model, ...] = (
    replace(MODELS[0], reasoning_effort=(Effort.LOW, Effort.MEDIUM, Effort.HIGH)),
    replace(MODELS[1], reasoning_effort=(Effort.NONE, Effort.HIGH)),
    MODELS[2],
)
TITLE = "### Task:\nGenerate a concise title summarizing the chat history.\n### Output:\n..."


def thinker(policy: RoutingPolicy = ON, **how: Any) -> Router:
    return house(policy, THINKING, **how)


@pytest.mark.parametrize(
    ("difficulty", "level"),
    [(0.0, "low"), (0.19, "low"), (0.2, "medium"), (0.59, "medium"), (0.6, "high"), (1.0, "high")],
)
def test_by_difficulty(difficulty: float, level: str) -> None:
    assert by_difficulty(difficulty, POLICY) == level
    assert planned(thinker(difficulty=difficulty), ask()).effort == level


def test_equal_thresholds_leave_nothing_between() -> None:
    policy = EffortPolicy(True, 0.5, 0.5)
    assert [by_difficulty(difficulty, policy) for difficulty in (0.49, 0.5)] == ["low", "high"]


@pytest.mark.parametrize(
    ("policy", "model", "fields", "level", "why"),
    [
        pytest.param(RoutingPolicy(), "auto", {}, None, "", id="switched off"),
        pytest.param(ON, "large", {}, None, "", id="a model asked for by name"),
        pytest.param(ON, "auto", {"models": ["large", "small"]}, None, "", id="a list of models"),
        *(
            pytest.param(ON, "auto", {name: None}, None, OWN, id=f"the caller says {name}, if null")
            for name in sorted(SAYS)
        ),
        pytest.param(ON, "auto", {"temperature": 0.2, "tools": []}, "high", "a hard ask", id="other fields"),
        pytest.param(ON, "auto", {"text": TITLE}, "none", CHORE, id="a chore is worth no thought"),
    ],
)
def test_who_is_told(
    policy: RoutingPolicy, model: str, fields: dict[str, Any], level: str | None, why: str
) -> None:
    plan = planned(thinker(policy, difficulty=0.9), ask(model, **fields))
    assert (plan.effort, plan.effort_why) == (level, why)


def test_a_remembered_decision_has_the_level_of_the_request_that_finds_it() -> None:
    router = thinker(difficulty=0.9)
    assert planned(router, ask()).route == "score"
    again, own = planned(router, ask()), planned(router, ask(reasoning_effort="low"))
    assert (again.route, again.effort) == ("cache", "high")
    assert (own.route, own.effort) == ("cache", None)


def test_the_judges_word_counts() -> None:
    policy = replace(ON, judge=JudgePolicy(enabled=True, model="groq/small", intent_margin=1.0))
    router = thinker(policy, difficulty=0.0, confidence=0.6)
    question = router.plan(ask(), {})
    assert isinstance(question, judge.Question)
    router.judged(question, judge.Verdict("code", 1.0, 0.9))
    assert planned(router, ask(), judging=False).effort == "high"


@pytest.mark.parametrize(("policy", "level"), [(ON, "none"), (RoutingPolicy(), None)])
def test_a_judge_is_asked_for_little(policy: RoutingPolicy, level: str | None) -> None:
    assert thinker(policy).least_effort == level


def test_a_traced_plan_says_what_each_model_is_told() -> None:
    plan = planned(thinker(difficulty=0.3), ask(), traced=True)
    told = described(plan)["effort"]
    assert told == {
        "level": "medium",
        "why": "an ask that is neither easy nor hard",
        "models": {"groq/small": "medium", "or/large": "high"},
    }
    assert planned(thinker(difficulty=0.3), ask()).efforts == {}
    assert described(planned(thinker(RoutingPolicy()), ask(), traced=True))["effort"] is None


# --- conversations -------------------------------------------------------------------------------

LONG = "write code " * 1500
SECOND = [
    {"role": "user", "content": LONG},
    {"role": "assistant", "content": "Here."},
    {"role": "user", "content": "and now?"},
]


@pytest.mark.parametrize(
    ("first", "second", "text", "answered", "level", "why"),
    [
        pytest.param(0.7, 0.1, LONG, "", "high", CACHED, id="an easier turn keeps the cache"),
        pytest.param(0.1, 0.7, LONG, "", "high", "a hard ask", id="a harder one is worth it"),
        pytest.param(0.7, 0.7, LONG, "", "high", "a hard ask", id="one that is as hard"),
        pytest.param(0.7, 0.1, "hi", "", "low", "an easy ask", id="nothing is cached of little"),
        pytest.param(0.7, 0.1, LONG, "or/plain", "low", "an easy ask", id="nor at another model"),
    ],
)
def test_the_level_of_a_conversation(
    first: float, second: float, text: str, answered: str, level: str, why: str
) -> None:
    hard = [first]
    router = house(
        replace(ON, sticky=StickyPolicy(margin=0.0)),
        tuple(replace(model, context_window=100_000) for model in THINKING),
        view=lambda _: None,
    )
    classify = router.ground.classify
    router.ground = replace(
        router.ground, classify=lambda features: replace(classify(features), difficulty=hard[0])
    )
    began = planned(router, ask("auto:best", text), "s")
    router.served(began, "s", answered or began.models[0])
    hard[0] = second
    messages = [{**SECOND[0], "content": text}, *SECOND[1:]]
    went_on = planned(router, ask("auto:best", messages=messages), "s")
    assert went_on.models[0] == began.models[0]
    assert (went_on.effort, went_on.effort_why) == (level, why)


def test_who_struggles_gets_all_the_thought() -> None:
    router = thinker(difficulty=0.0)
    asked = {"role": "user", "content": "Write a poem about the autumn"}
    messages = [asked, *SECOND[1:2], asked]
    plan = planned(router, ask(messages=messages))
    assert (plan.effort, plan.effort_why) == ("high", STRUGGLES)
