"""From a request to a plan: names, profiles, explicit plans, refusals, traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.errors import ApiError
from proxy.routing import judge
from proxy.routing.policy import (
    AdaptPolicy,
    CachePolicy,
    Condition,
    JudgePolicy,
    RoutingPolicy,
    Rule,
    Step,
    StickyPolicy,
)
from proxy.routing.router import GLANCE, Router, new_memory
from proxy.routing.standing import Observed, Stand, Standing
from proxy.types import ChatRequest, Classification, Features, Model, Need, Price, Priors, RoutePlan
from proxy.wire.chat import parse

TOOLS = frozenset({Need.TOOLS})
MODELS = (
    Model(
        "groq/small",
        "groq",
        "s",
        {"code": 0.5},
        ("small",),
        TOOLS,
        8000,
        None,
        Priors(0.5, 0.95),
        Price(0.1, 0.1),
    ),
    Model(
        "or/large",
        "or",
        "l",
        {"code": 0.9},
        ("large", "big"),
        TOOLS | {Need.VISION},
        200_000,
        8000,
        Priors(0.95, 0.5),
        Price(3, 15),
        fallback=("groq/small", "gone"),
    ),
    Model("or/plain", "or", "p", {"code": 0.7}, (), frozenset(), 32_000, None, Priors(0.7, 0.7), Price(1, 1)),
)


def house(
    policy: RoutingPolicy = RoutingPolicy(),  # noqa: B008
    models: tuple[Model, ...] = MODELS,
    *,
    shut: set[str] | None = None,
    difficulty: float = 0.5,
    confidence: float = 1.0,
    view: Callable[[str], Observed | None] = lambda _: None,
    moved: Callable[[], Standing] = dict,
    chance: Callable[[], float] = lambda: 1.0,
    obstacle: Callable[[str], str] = lambda _: "",
) -> Router:
    def classify(_: Features) -> Classification:
        doubt = () if confidence == 1.0 else (("chat", 1.0 - confidence),)
        return Classification((("code", confidence), *doubt), difficulty)

    closed = shut if shut is not None else set()
    ticks = iter(range(10**9))
    return Router(
        policy,
        models,
        [("code", "programs")],
        classify,
        new_memory(policy, lambda: next(ticks) * 1e-6),
        closed.intersection,
        view,
        None,
        moved,
        chance,
        obstacle,
    )


def ask(model: str = "auto", text: str = "write code", **fields: Any) -> ChatRequest:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return parse(msgspec.json.encode(body))


def planned(router: Router, request: ChatRequest, session: str = "", **how: Any) -> RoutePlan:
    plan = router.plan(request, {}, session, **how)
    assert isinstance(plan, RoutePlan)
    return plan


def refused(router: Router, request: ChatRequest) -> ApiError:
    with pytest.raises(ApiError) as caught:
        router.plan(request, {})
    return caught.value


# --- auto and its profiles -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param("auto", "balanced", id="auto is balanced"),
        pytest.param("auto:balanced", "balanced", id="auto:balanced is auto"),
        pytest.param("auto:cheap", "cheap", id="auto:cheap"),
        pytest.param("auto:fast", "fast", id="auto:fast"),
        pytest.param("auto:best", "best", id="auto:best"),
    ],
)
def test_a_profile_is_asked_for_by_name(model: str, expected: str) -> None:
    assert planned(house(), ask(model)).profile == expected


@pytest.mark.parametrize(
    ("model", "first"),
    [
        pytest.param("auto:cheap", "groq/small", id="cheap asks the cheapest"),
        pytest.param("auto:fast", "groq/small", id="fast asks the fastest"),
        pytest.param("auto:best", "or/large", id="best asks the best"),
    ],
)
def test_profiles_lead_to_other_models(model: str, first: str) -> None:
    assert planned(house(difficulty=0.9), ask(model)).models[0] == first


def test_a_plan_says_what_was_decided() -> None:
    plan = planned(house(difficulty=0.9), ask("auto:best"))
    assert plan.models == ("or/large", "groq/small", "or/plain")
    assert plan.route == "score"
    assert not plan.explicit
    assert plan.features.ask == "write code"
    assert plan.classification is not None
    assert plan.classification.top == "code"
    assert list(plan.ranking) == ["or/large", "or/plain", "groq/small"]
    assert (plan.scores, plan.filtered, plan.rungs) == ((), (), ())


@pytest.mark.parametrize(
    ("shut", "expected"),
    [
        pytest.param(set(), "or/large groq/small or/plain", id="all are healthy"),
        pytest.param({"groq/small"}, "or/large or/plain groq/small", id="a shut fallback goes to the end"),
        pytest.param({"or/large"}, "or/plain groq/small or/large", id="so does a shut favourite"),
        pytest.param({m.id for m in MODELS}, "or/large groq/small or/plain", id="all are shut"),
    ],
)
def test_the_plan_keeps_those_that_may_have_recovered_when_they_are_needed(
    shut: set[str], expected: str
) -> None:
    assert " ".join(planned(house(shut=shut, difficulty=0.9), ask("auto:best")).models) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"tools": [{"type": "function"}]}, {"groq/small", "or/large"}, id="tools"),
        pytest.param({"text": "word " * 20_000}, {"or/large", "or/plain"}, id="a long prompt"),
        pytest.param({"max_tokens": 10_000}, {"or/plain"}, id="an answer that only some can give"),
        pytest.param(
            {"max_tokens": 10**6}, {"groq/small", "or/large", "or/plain"}, id="one that nobody can give"
        ),
    ],
)
def test_only_those_who_are_able_are_planned(fields: dict[str, Any], expected: set[str]) -> None:
    assert set(planned(house(), ask(**fields)).models) == expected


def test_observations_change_the_plan() -> None:
    class Seen:
        success, ttft, speed, evidence = 0.1, 30.0, 5.0, 100.0

    router = house(view=lambda model: Seen() if model == "groq/small" else None)
    assert planned(router, ask("auto:fast")).models[0] == "or/plain"


def test_what_is_observed_later_is_looked_at_soon() -> None:
    class Seen:
        success, ttft, speed, evidence = 0.1, 30.0, 5.0, 100.0

    now, seen = [0.0], dict[str, Observed]()
    policy = RoutingPolicy(cache=CachePolicy(size=0))
    memory = new_memory(policy, lambda: now[0])
    router = Router(
        policy,
        MODELS,
        (),
        lambda _: Classification((("code", 1.0),)),
        memory,
        lambda _: frozenset(),
        seen.get,
    )
    assert planned(router, ask("auto:fast")).models[0] == "groq/small"
    seen["groq/small"] = Seen()
    assert planned(router, ask("auto:fast")).models[0] == "groq/small"
    now[0] += GLANCE
    assert planned(router, ask("auto:fast")).models[0] == "or/plain"


@pytest.mark.parametrize("ladder", [(), (Step.RULES,), (Step.CACHE, Step.STICKY)])
def test_a_ladder_that_ends_without_an_answer_ends_at_the_default(ladder: tuple[Step, ...]) -> None:
    plan = planned(house(RoutingPolicy(ladder=ladder, default_model="or/plain")), ask())
    assert (plan.models[0], plan.route) == ("or/plain", "default")
    assert len(plan.models) == 3


def test_a_rule_is_named_in_the_route() -> None:
    policy = RoutingPolicy(rules=(Rule("all", Condition(), "or/plain"),))
    plan = planned(house(policy), ask())
    assert (plan.models[0], plan.route) == ("or/plain", "rule:all")


# --- conversations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margin", "route"),
    [
        pytest.param(10.0, "sticky", id="while nobody is that much better"),
        pytest.param(0.0, "cache", id="but not when somebody is better at all"),
    ],
)
def test_a_conversation_stays_with_the_model_that_served_it(margin: float, route: str) -> None:
    router = house(RoutingPolicy(sticky=StickyPolicy(margin=margin)))
    first = planned(router, ask(), "s")
    router.served(first, "s", first.models[1])
    again = planned(router, ask(), "s")
    assert again.route == route
    assert again.models[0] == first.models[1 if route == "sticky" else 0]
    assert planned(router, ask(), "t").models == first.models


def test_a_turn_that_was_planned_without_those_before_it_ends_nothing() -> None:
    router = house()
    late = planned(router, ask(), "s")
    router.served(planned(router, ask(), "s"), "s", "or/large")
    router.served(planned(router, ask(), "s"), "s", "or/large")
    router.served(late, "s", "groq/small")
    found = planned(router, ask(), "s").incumbent
    assert found is not None and (found.model, found.turns) == ("or/large", 2)


def loop() -> list[dict[str, Any]]:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return [
        {"role": "user", "content": "write code"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
    ]


@pytest.mark.parametrize(
    ("shut", "expected"),
    [
        pytest.param(set(), "groq/small sticky", id="a tool loop never changes its model"),
        pytest.param({"groq/small"}, "or/large score", id="but for a rescue"),
    ],
)
def test_in_a_tool_loop(shut: set[str], expected: str) -> None:
    router = house(shut=shut, difficulty=1.0)
    router.served(planned(router, ask("auto:best"), "s"), "s", "groq/small")
    plan = planned(router, ask("auto:best", messages=loop()), "s")
    assert f"{plan.models[0]} {plan.route}" == expected


@pytest.mark.parametrize(
    ("request_", "session"),
    [
        pytest.param(ask("large"), "s", id="a model asked for by name"),
        pytest.param(ask(models=["small"]), "s", id="an explicit plan"),
        pytest.param(ask(text="### Task:\nGenerate a concise, 3-5 word title"), "s", id="a chore"),
        pytest.param(ask(), "", id="no conversation"),
    ],
)
def test_a_conversation_is_not_moved_by(request_: ChatRequest, session: str) -> None:
    router = house()
    router.served(planned(router, request_, session), session, "groq/small")
    assert len(router.ground.memory.conversations) == 0


# --- decisions that are remembered ---------------------------------------------------------------

RULES = (Rule("r", Condition(intent=("none",), headers={"x-read": "2"}), "or/plain"),)


def again(router: Router, request: ChatRequest, headers: dict[str, str] | None = None) -> RoutePlan:
    plan = router.plan(request, headers or {})
    assert isinstance(plan, RoutePlan)
    return plan


@pytest.mark.parametrize(
    ("second", "headers"),
    [
        pytest.param(ask(text="other code"), {}, id="another ask"),
        pytest.param(ask(messages=[*loop()[:1], *loop()[:1]]), {}, id="another conversation before it"),
        pytest.param(ask(messages=loop()), {}, id="a tool loop"),
        pytest.param(ask(tools=[{"type": "function"}]), {}, id="another need"),
        pytest.param(ask(max_tokens=900), {}, id="a longer answer"),
        pytest.param(ask("auto:best"), {}, id="another profile"),
        pytest.param(ask(), {"x-read": "1"}, id="a header that a rule reads"),
    ],
)
def test_it_is_decided_anew_for(second: ChatRequest, headers: dict[str, str]) -> None:
    router = house(RoutingPolicy(rules=RULES))
    planned(router, ask())
    assert again(router, second, headers).route == "score"


@pytest.mark.parametrize(
    ("second", "headers"),
    [
        pytest.param(ask(temperature=0.1, user="me", stream=True), {}, id="what nobody reads"),
        pytest.param(ask(), {"x-unread": "1"}, id="a header that no rule reads"),
        pytest.param(ask("auto:balanced"), {}, id="the same profile by its name"),
    ],
)
def test_it_is_not_decided_anew_for(second: ChatRequest, headers: dict[str, str]) -> None:
    router = house(RoutingPolicy(rules=RULES))
    first = planned(router, ask(), "s")
    plan = again(router, second, headers)
    assert plan.route == "cache"
    assert (plan.models, plan.ranking, plan.classification) == (
        first.models,
        first.ranking,
        first.classification,
    )


@pytest.mark.parametrize(
    ("policy", "request_"),
    [
        pytest.param(RoutingPolicy(cache=CachePolicy(size=0)), ask(), id="in a cache of size nought"),
        pytest.param(RoutingPolicy(ladder=(Step.SCORING,)), ask(), id="where no ladder looks for it"),
        pytest.param(RoutingPolicy(), ask(text="long " * 4000), id="of long requests"),
        pytest.param(RoutingPolicy(), ask("large"), id="of models asked for by name"),
    ],
)
def test_nothing_is_remembered(policy: RoutingPolicy, request_: ChatRequest) -> None:
    router = house(policy)
    assert planned(router, request_).route == planned(router, request_).route != "cache"
    assert len(router.ground.memory.decisions) == 0


def test_another_configuration_never_finds_the_decisions_of_this_one() -> None:
    router = house()
    planned(router, ask())
    policy = RoutingPolicy(rules=(Rule("all", Condition(), "or/plain"),))
    ground = router.ground
    other = Router(policy, MODELS, (), ground.classify, ground.memory, ground.shut, lambda _: None)
    assert planned(other, ask()).route == "rule:all"
    assert planned(router, ask()).route == "cache"


def test_a_remembered_decision_tells_its_words_only_to_who_traces_it() -> None:
    router = house()
    planned(router, ask())
    quick, traced = planned(router, ask()), planned(router, ask(), traced=True)
    assert quick.route == traced.route == "cache"
    assert (quick.features.ask, traced.features.ask) == ("", "write code")
    assert quick.features.prompt_tokens == traced.features.prompt_tokens > 0
    assert [quick.models, quick.ranking] == [traced.models, traced.ranking]


def test_a_remembered_chore_does_not_move_a_conversation() -> None:
    router = house()
    for _ in range(2):
        plan = planned(router, ask(text="### Task:\nGenerate a concise, 3-5 word title"), "s")
        router.served(plan, "s", "groq/small")
    assert plan.route == "cache"
    assert len(router.ground.memory.conversations) == 0


# --- models asked for by name --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param("groq/small", "groq/small", id="by id, with no list of its own"),
        pytest.param("small", "groq/small", id="by alias"),
        pytest.param("or/large", "or/large groq/small", id="with its own list, without those left out"),
    ],
)
def test_a_named_model(model: str, expected: str) -> None:
    plan = planned(house(), ask(model))
    assert (" ".join(plan.models), plan.route, plan.explicit) == (expected, "explicit", True)
    assert plan.classification is None


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(ask("or/plain", tools=[{"type": "function"}]), "or/plain", id="lacks what is needed"),
        pytest.param(ask("small", "word " * 20_000), "groq/small", id="has too small a window"),
    ],
)
def test_a_named_model_is_asked_although_it(request_: ChatRequest, expected: str) -> None:
    assert planned(house(), request_).models == (expected,)


def test_a_named_models_list_is_filtered_by_what_the_request_needs() -> None:
    assert planned(house(), ask("large", "word " * 20_000)).models == ("or/large",)


def test_a_named_model_stays_first_although_its_circuit_is_shut() -> None:
    assert planned(house(shut={"or/large"}), ask("large")).models == ("or/large", "groq/small")


def test_named_models_use_the_ranking_where_routing_says_so() -> None:
    router = house(RoutingPolicy(named_models_use_ranking=True), shut={"or/large", "groq/small"})
    plan = planned(router, ask("large"))
    assert plan.models == ("or/large", "or/plain", "groq/small")
    assert plan.explicit
    assert plan.classification is not None


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(ask("auto", models=["plain", "large"]), None, id="an unknown name"),
        pytest.param(ask("auto", models=["or/plain", "large"]), "or/plain or/large", id="in its order"),
        pytest.param(ask("auto:best", models=["small"]), "groq/small", id="a profile beside it is void"),
        pytest.param(
            ask("big", models=["small", "large"]), "or/large groq/small", id="a named model goes first"
        ),
        pytest.param(ask("small", models=["groq/small"]), "groq/small", id="nobody is asked twice"),
        pytest.param(
            parse(b'{"models":["small","big"],"messages":[{"role":"user","content":"x"}]}'),
            "groq/small or/large",
            id="without a model",
        ),
        pytest.param(ask("auto", models=[]), "auto", id="an empty list is none"),
    ],
)
def test_an_explicit_plan(request_: ChatRequest, expected: str | None) -> None:
    router = house()
    if expected is None:
        assert refused(router, request_).param == "models"
        return
    plan = planned(router, request_)
    assert plan.explicit is (expected != "auto")
    assert expected in ("auto", " ".join(plan.models))


# --- refusals ------------------------------------------------------------------------------------

PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
SOUND = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]


@pytest.mark.parametrize(
    ("request_", "status", "code", "param", "says"),
    [
        pytest.param(
            ask("gpt-9"), 404, "model_not_found", "model", "does not exist here", id="an unknown model"
        ),
        pytest.param(
            ask("or/larg"), 404, "model_not_found", "model", "'or/large'", id="one that is nearly known"
        ),
        pytest.param(
            ask("auto:chaep"), 404, "model_not_found", "model", "'auto:cheap'", id="an unknown profile"
        ),
        pytest.param(ask("AUTO"), 404, "model_not_found", "model", "does not exist", id="another case"),
        pytest.param(ask("x" * 250), 404, "model_not_found", "model", "does not exist", id="a long name"),
        pytest.param(ask(models=["smal"]), 404, "model_not_found", "models", "'small'", id="one in a list"),
        pytest.param(ask(models=["auto"]), 400, "invalid_value", "models", "'auto'", id="auto in a list"),
        pytest.param(
            ask(messages=SOUND),
            400,
            "unsupported_capability",
            "messages",
            "audio",
            id="a need that nobody supports",
        ),
        pytest.param(
            ask(logprobs=True),
            400,
            "unsupported_capability",
            "logprobs",
            "logprobs",
            id="one made by a field",
        ),
        pytest.param(
            ask(messages=SOUND, tools=[{"type": "function"}]),
            400,
            "unsupported_capability",
            "messages",
            "audio.",
            id="only what is lacking is named",
        ),
        pytest.param(
            ask(text="word " * 400_000),
            400,
            "context_length_exceeded",
            "messages",
            "200000",
            id="too long for all",
        ),
    ],
)
def test_a_refusal(request_: ChatRequest, status: int, code: str, param: str, says: str) -> None:
    error = refused(house(), request_)
    assert (error.status, error.code, error.param) == (status, code, param)
    assert error.type == "invalid_request_error"
    assert says in error.message
    assert len(error.message) < 400


def test_needs_that_nobody_supports_together_are_named_together() -> None:
    blind = replace(MODELS[0], context_window=200_000)
    seeing = replace(MODELS[1], supports=frozenset({Need.VISION}))
    error = refused(house(models=(blind, seeing)), ask(messages=PICTURE, tools=[{"type": "function"}]))
    assert error.code == "unsupported_capability"
    assert "tools and vision" in error.message


def test_with_no_model_at_all_waiting_is_advised_and_retrying_is_not() -> None:
    error = refused(house(models=()), ask())
    assert (error.status, error.code, error.type) == (503, "no_healthy_upstream", "server_error")
    assert dict(error.headers)["retry-after"].isdigit()
    assert dict(error.headers)["x-should-retry"] == "false"


# --- names, traces, explanations -----------------------------------------------------------------


def test_names_are_auto_the_profiles_and_then_the_models() -> None:
    names = list(house().names())
    assert names[:5] == ["auto", "auto:balanced", "auto:cheap", "auto:fast", "auto:best"]
    assert set(names[5:]) == {"groq/small", "small", "or/large", "large", "big", "or/plain"}


def test_a_traced_plan_gives_its_reasons() -> None:
    router = house(shut={"groq/small"}, difficulty=0.9)
    plan = planned(router, ask(tools=[{"type": "function"}]), traced=True)
    assert [(rung.step, rung.answer) for rung in plan.rungs] == [
        ("cache", "passed: this request was not decided lately, or its model can't be asked now"),
        ("rules", "passed: there are none"),
        ("judge", "passed: switched off"),
        ("scoring", "or/large (score)"),
        ("sticky", "passed: the conversation is with nobody yet"),
        ("escalation", "passed: nothing says that the caller struggles"),
        ("explore", "passed: switched off"),
        ("default", "not asked: an earlier rung answered"),
    ]
    assert all(rung.took_us > 0 for rung in plan.rungs[:5])
    assert dict(plan.filtered) == {
        "groq/small": "circuit open or throttled",
        "or/plain": "does not support tools",
    }
    assert {scored.model: scored.total for scored in plan.scores} == dict(plan.ranking)
    weight, best = plan.weights, plan.scores[0]
    total = sum(weight[term] * value * (-1 if term == "cost" else 1) for term, value in best.terms.items())
    assert total == pytest.approx(best.total)
    assert plan.origins == ("the choice", "fallback of or/large, but last: it can't be asked now")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(ask("small"), ("asked for",), id="a model by name"),
        pytest.param(ask("large"), ("asked for", "fallback of or/large"), id="a model with fallbacks"),
        pytest.param(ask("auto", models=["small", "large"]), ("asked for", "asked for"), id="a list"),
        pytest.param(ask("auto:best"), ("the choice", "fallback of or/large", "ranking"), id="the ladder"),
    ],
)
def test_a_traced_plan_says_where_its_places_come_from(
    request_: ChatRequest, expected: tuple[str, ...]
) -> None:
    assert planned(house(), request_, traced=True).origins == expected
    assert planned(house(), request_).origins == ()


def test_a_traced_plan_says_what_stands_in_a_models_way() -> None:
    router = house(shut={"groq/small"}, obstacle=lambda model: f"{model} is being mended")
    assert dict(planned(router, ask(), traced=True).filtered) == {"groq/small": "groq/small is being mended"}


@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            "tools": st.just([{"type": "function"}]),
            "max_tokens": st.integers(1, 300_000),
            "text": st.sampled_from(["hello", "write code", "word " * 10_000]),
        },
    ),
    profile=st.sampled_from(["auto", "auto:cheap", "auto:fast", "auto:best"]),
    shut=st.sets(st.sampled_from([model.id for model in MODELS])),
)
def test_a_trace_changes_no_decision(fields: dict[str, Any], profile: str, shut: set[str]) -> None:
    router = house(shut=shut).apart()
    bare, traced = (
        planned(router, ask(profile, **fields)),
        planned(router, ask(profile, **fields), traced=True),
    )
    assert (bare.models, bare.route, bare.ranking) == (traced.models, traced.route, traced.ranking)


def test_a_router_apart_decides_alike_and_remembers_nothing() -> None:
    router = house()
    apart = router.apart()
    assert planned(apart, ask()).route == planned(apart, ask()).route == "score"
    assert len(router.ground.memory.decisions) == 0
    planned(router, ask())
    assert planned(router, ask()).route == "cache"
    assert planned(apart, ask()).route == "score"


# --- the judge -----------------------------------------------------------------------------------

JUDGED = RoutingPolicy(judge=JudgePolicy(enabled=True, model="groq/small"))


def test_an_unsure_router_asks_the_judge_and_then_plans() -> None:
    router = house(JUDGED, confidence=0.3)
    question = router.plan(ask(), {})
    assert isinstance(question, judge.Question)
    assert planned(router, question.request, judging=False).models == ("groq/small",)
    router.judged(question, judge.Verdict("code", 0.9, 0.95))
    assert planned(router, ask(), judging=False).route == "judge"
    assert planned(router, ask()).route == "cache"


def test_a_judge_that_gave_no_verdict_is_left_out() -> None:
    router = house(JUDGED, confidence=0.3)
    assert isinstance(router.plan(ask(), {}), judge.Question)
    assert planned(router, ask(), judging=False).route == "score"


def test_nobody_able_is_refused_before_the_judge_is_asked() -> None:
    assert refused(house(JUDGED, confidence=0.3), ask(logprobs=True)).code == "unsupported_capability"


# --- what lasting evidence has moved -------------------------------------------------------------


def test_what_was_moved_counts_and_a_share_of_the_decisions_looks_past_it() -> None:
    policy = RoutingPolicy(adapt=AdaptPolicy(enabled=True, explore=0.2))
    first = planned(house(policy, difficulty=0.9), ask()).models[0]
    dice = iter([0.5, 0.1, 0.9])
    router = house(
        policy, difficulty=0.9, moved=lambda: {first: Stand(0.0, 0.0, -0.9)}, chance=lambda: next(dice)
    )
    moved, exploring, again = (planned(router, ask()) for _ in range(3))
    assert moved.models[0] != first and not moved.exploring
    assert exploring.models[0] == first and exploring.exploring
    assert again.models[0] == moved.models[0] and again.route == "cache"


@pytest.mark.parametrize(
    ("policy", "moved"),
    [
        pytest.param(AdaptPolicy(), {"or/large": Stand(0, 0, -0.9)}, id="switched off"),
        pytest.param(AdaptPolicy(enabled=True, explore=0), {"or/large": Stand(0, 0, -0.9)}, id="no share"),
        pytest.param(AdaptPolicy(enabled=True, explore=1.0), {}, id="nothing was moved"),
    ],
)
def test_nothing_is_explored_when(policy: AdaptPolicy, moved: Standing) -> None:
    router = house(RoutingPolicy(adapt=policy), moved=lambda: moved, chance=lambda: 0.0)
    assert not planned(router, ask()).exploring
