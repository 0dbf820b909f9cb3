"""The ladder's rungs, climbed without a request: facts in, choice out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.routing import judge
from proxy.routing.climb import Climb
from proxy.routing.conversation import Held, conversation
from proxy.routing.policy import (
    CachePolicy,
    Condition,
    JudgePolicy,
    RoutingPolicy,
    Rule,
    Step,
    StickyPolicy,
    Weights,
)
from proxy.routing.router import Router, new_memory
from proxy.routing.steps import REVISES, STEPS, default, take
from proxy.types import Choice, Classification, Features, Model, Need, Priors


def model(name: str, code: float, chat: float, **fields: Any) -> Model:
    """One whose chance of a good answer to an ask of difficulty 0.5 is this, by its fitness alone."""
    fitness = {
        intent: wanted**2 / (wanted**2 + (1.0 - wanted) ** 2)
        for intent, wanted in (("code", code), ("chat", chat))
    }
    return Model(name, "p", "u", fitness, **fields)


# good leads by 0.2 in code, by 0.05 in chat.
MODELS = (
    model("good", 0.9, 0.85, context_window=8000, supports=frozenset({Need.TOOLS})),
    model("fair", 0.7, 0.8, context_window=64_000, supports=frozenset({Need.TOOLS})),
    model("poor", 0.1, 0.1, context_window=64_000),
)
CODE, CHAT = Features("write code", prompt_tokens=50), Features("hello", prompt_tokens=5)
PLAIN = RoutingPolicy(
    profiles={
        "balanced": Weights(quality=1.0, success=0.0, latency=0.0, cost=0.0),
        "other": Weights(),
    },
    sticky=StickyPolicy(margin=0.15),
)


class House:
    """A router whose circuits, clock and classifier are set by hand."""

    def __init__(self, policy: RoutingPolicy = PLAIN, models: tuple[Model, ...] = MODELS) -> None:
        self.now = 0.0
        self.shut: set[str] = set()
        self.classified = 0
        self.read = 0
        self.confidence = 1.0
        self.remembers = Step.CACHE in policy.ladder and policy.cache.size > 0
        self.router = Router(
            policy,
            models,
            (("code", ""), ("chat", "")),
            self._classify,
            new_memory(policy, lambda: self.now),
            lambda models: models & self.shut,
            lambda _: None,
        )

    def _classify(self, features: Features) -> Classification:
        self.classified += 1
        lead, other = ("code", "chat") if "code" in features.ask else ("chat", "code")
        return Classification(((lead, self.confidence), (other, 1.0 - self.confidence)))

    def climb(
        self,
        features: Features = CODE,
        session: str = "s",
        *,
        headers: Mapping[str, str] | None = None,
        profile: str = "balanced",
        judging: bool = True,
    ) -> Climb:

        def read() -> Features:
            self.read += 1
            return features

        # Equal facts have equal keys: what keys are really made of is the router's business.
        key = hash(repr((features, profile))) if self.remembers else 0
        return Climb(self.router.ground, read, key, headers or {}, profile, session, judging)

    def up(self, features: Features = CODE, session: str = "s", **how: Any) -> Choice | None:
        """The whole ladder's choice."""
        climb = self.climb(features, session, **how)
        for step in self.router.ground.policy.ladder:
            if climb.choice is None or step in REVISES:
                take(step, climb)
        return climb.choice

    def serves(
        self, model: str, session: str = "s", profile: str = "balanced", floor: str = "", **how: Any
    ) -> None:
        """The conversation's last turn was answered by this model."""
        left: dict[str, Any] = {"task": "chat", "tokens": 0, "asked": 0, "at": self.now, **how}
        held = Held(model, floor or model, **left)
        self.router.ground.memory.conversations.put(conversation(session, profile), held)


def said(choice: Choice | None) -> str:
    return f"{choice.model} {choice.route}" if choice else "nobody"


def laid(**members: Any) -> RoutingPolicy:
    return replace(PLAIN, **members)


def rule(model: str, name: str = "r", **when: Any) -> Rule:
    return Rule(name, Condition(**when), model)


# --- scoring and default -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shut", "features", "expected"),
    [
        pytest.param("", CODE, "good score", id="the best total is chosen"),
        pytest.param("good", CODE, "fair score", id="the next best while its circuit is shut"),
        pytest.param("good fair poor", CODE, "good score", id="the best of all when every circuit is shut"),
        pytest.param(
            "", replace(CODE, prompt_tokens=20_000), "fair score", id="the best with a large window"
        ),
        pytest.param("", replace(CODE, prompt_tokens=10**6), "nobody", id="nobody, when nobody is able"),
        pytest.param(
            "good fair",
            replace(CODE, needs=frozenset({Need.TOOLS})),
            "good score",
            id="never one who is healthy but unable",
        ),
    ],
)
def test_scoring_chooses(shut: str, features: Features, expected: str) -> None:
    house = House()
    house.shut = set(shut.split())
    assert said(take(Step.SCORING, house.climb(features))) == expected


@pytest.mark.parametrize(
    ("wanted", "shut", "tokens", "expected"),
    [
        pytest.param("poor", "", 5, "poor", id="the configured model"),
        pytest.param(None, "", 5, "good", id="the first that is ready, when none is configured"),
        pytest.param("poor", "poor", 5, "good", id="the first healthy one while it is shut"),
        pytest.param(None, "good", 5, "fair", id="the first healthy one"),
        pytest.param("poor", "good fair poor", 5, "poor", id="the configured one when all are shut"),
        pytest.param("good", "", 20_000, "fair", id="the first that is able"),
        pytest.param("gone", "", 5, "good", id="the first that is ready, when it is left out"),
        pytest.param("good", "", 10**6, None, id="nobody, when nobody is able"),
    ],
)
def test_default_chooses(wanted: str | None, shut: str, tokens: int, expected: str | None) -> None:
    house = House(laid(default_model=wanted))
    house.shut = set(shut.split())
    choice = default(house.climb(replace(CODE, prompt_tokens=tokens)))
    assert (choice.model if choice else None) == expected


# --- rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "shut", "features", "expected"),
    [
        pytest.param((rule("poor"),), "", CODE, "poor rule:r", id="a rule goes before the scores"),
        pytest.param(
            (rule("poor", intent=("chat",)),), "", CODE, "good score", id="one that doesn't hold is silent"
        ),
        pytest.param(
            (rule("poor", "a"), rule("fair", "b")), "", CODE, "poor rule:a", id="the first that holds wins"
        ),
        pytest.param(
            (rule("poor", "a"), rule("fair", "b")),
            "poor",
            CODE,
            "fair rule:b",
            id="the next while its model is shut",
        ),
        pytest.param(
            (rule("gone"),), "", CODE, "good score", id="one whose model is left out is passed over"
        ),
        pytest.param(
            (rule("good"),),
            "",
            replace(CODE, prompt_tokens=9000),
            "fair score",
            id="so is one whose model is unable",
        ),
        pytest.param(
            (rule("poor", headers={"x-a": "1"}),), "", CODE, "good score", id="a header that wasn't sent"
        ),
        pytest.param(
            (rule("poor"),), "good fair poor", CODE, "good score", id="no rule holds when all are shut"
        ),
    ],
)
def test_rules_choose(rules: tuple[Rule, ...], shut: str, features: Features, expected: str) -> None:
    house = House(laid(rules=rules))
    house.shut = set(shut.split())
    assert said(house.up(features, "")) == expected


# --- the decision cache --------------------------------------------------------------------------


def test_the_same_ask_is_decided_once() -> None:
    house = House()
    assert said(house.up()) == "good score"
    assert said(house.up()) == "good cache"
    assert (house.read, house.classified) == (1, 1)


def test_what_was_decided_is_not_read_again_for_a_conversation() -> None:
    house = House()
    house.up(CHAT, "")
    house.serves("fair")
    assert said(house.up(CHAT)) == "fair sticky"
    assert said(house.up(CHAT)) == "fair sticky"
    assert (house.read, house.classified) == (1, 1)


def test_a_decision_is_forgotten_in_time() -> None:
    house = House(laid(cache=CachePolicy(ttl=10.0)))
    house.up()
    house.now = 11.0
    assert said(house.up()) == "good score"


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(laid(cache=CachePolicy(size=0)), id="of size nought"),
        pytest.param(laid(ladder=(Step.RULES, Step.SCORING)), id="that is no rung of the ladder"),
    ],
)
def test_nothing_is_kept_in_a_cache(policy: RoutingPolicy) -> None:
    house = House(policy)
    assert said(house.up()) == said(house.up()) == "good score"
    assert len(house.router.ground.memory.decisions) == 0


def test_a_cached_decision_passes_over_a_shut_circuit_and_finds_the_way_back() -> None:
    house = House()
    house.up()
    house.shut = {"good"}
    assert said(house.up()) == "fair cache"
    house.shut = set()
    assert said(house.up()) == "good cache"


def test_a_decision_taken_in_need_does_not_outlast_the_need() -> None:
    house = House()
    house.shut = {"good"}
    assert said(house.up()) == "fair score"
    house.shut = set()
    assert said(house.up()) == "good cache"


def test_a_rule_that_was_passed_over_for_its_circuit_speaks_again_when_it_closes() -> None:
    house = House(laid(rules=(rule("poor"),)))
    house.shut = {"poor"}
    assert said(house.up()) == "good score"
    house.shut = set()
    assert said(house.up()) == "poor rule:r"
    assert said(house.up()) == "poor cache"


def test_a_cached_rule_whose_model_is_shut_is_no_decision() -> None:
    house = House(laid(rules=(rule("poor", "a"), rule("fair", "b"))))
    assert said(house.up()) == "poor rule:a"
    house.shut = {"poor"}
    assert said(house.up()) == "fair rule:b"
    house.shut = set()
    assert said(house.up()) == "poor cache"


# --- sticky --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("incumbent", "features", "expected"),
    [
        pytest.param("fair", CHAT, "fair sticky", id="stays when the newcomer is hardly better"),
        pytest.param("fair", CODE, "good score", id="goes when it is clearly beaten"),
        pytest.param("good", CODE, "good score", id="needs no keeping when it is the best anyway"),
        pytest.param(
            "fair", replace(CODE, tool_loop=True), "fair sticky", id="stays in a tool loop, though beaten"
        ),
        pytest.param("poor", replace(CODE, tool_loop=True), "poor sticky", id="however badly"),
        pytest.param("fair", replace(CHAT, background="title"), "good score", id="isn't asked for chores"),
        pytest.param(
            "good", replace(CHAT, prompt_tokens=9000), "fair score", id="goes when its window is too small"
        ),
        pytest.param(
            "poor",
            replace(CODE, tool_loop=True, needs=frozenset({Need.TOOLS})),
            "good score",
            id="goes even in a tool loop when it can't serve",
        ),
        pytest.param("gone", CHAT, "good score", id="is forgotten when it is left out"),
    ],
)
def test_the_incumbent(incumbent: str, features: Features, expected: str) -> None:
    house = House()
    house.serves(incumbent)
    assert said(house.up(features)) == expected


@pytest.mark.parametrize(
    ("session", "profile"),
    [
        pytest.param("other", "balanced", id="in another conversation"),
        pytest.param("s", "other", id="under another profile"),
        pytest.param("", "balanced", id="without a conversation"),
    ],
)
def test_nobody_is_incumbent(session: str, profile: str) -> None:
    house = House()
    house.serves("fair")
    assert said(house.up(CHAT, session, profile=profile)) == "good score"


def test_an_incumbent_that_was_down_gets_its_conversation_back_only_if_it_is_better() -> None:
    house = House()
    house.serves("fair")
    house.shut = {"fair"}
    assert said(house.up(CHAT)) == "good score"
    house.serves("good")
    house.shut = set()
    assert said(house.up(CHAT)) == "good cache"


def test_a_conversation_that_fled_returns_when_the_refuge_is_clearly_beaten() -> None:
    house = House()
    house.serves("poor")
    assert said(house.up(CHAT)) == "good score"


def test_a_rule_is_obeyed_by_a_conversation_also_from_the_cache() -> None:
    house = House(laid(rules=(rule("fair"),)))
    house.serves("good")
    assert said(house.up(CHAT)) == "fair rule:r"
    assert said(house.up(CHAT)) == "fair cache"


def test_a_rule_does_not_break_into_a_tool_loop() -> None:
    house = House(laid(rules=(rule("poor"),)))
    house.serves("fair")
    assert said(house.up(replace(CHAT, tool_loop=True))) == "fair sticky"


def test_a_conversation_ends_with_its_ttl() -> None:
    house = House(laid(sticky=StickyPolicy(ttl=10.0)))
    house.serves("fair")
    house.now = 11.0
    assert said(house.up(CHAT)) == "good score"


# --- the order of the ladder ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ladder", "incumbent", "features", "expected"),
    [
        pytest.param("sticky scoring", "fair", CHAT, "fair sticky", id="sticky first keeps an equal"),
        pytest.param("sticky scoring", "fair", CODE, "good score", id="but not one that is clearly beaten"),
        pytest.param("sticky scoring", "good", CODE, "good sticky", id="and answers for the best itself"),
        pytest.param("sticky default", "poor", CODE, "poor sticky", id="without scoring nobody is beaten"),
        pytest.param("sticky rules scoring", "fair", CHAT, "fair sticky", id="above the rules it goes first"),
        pytest.param("default sticky", "fair", CHAT, "fair sticky", id="it may revise a default"),
        pytest.param("default sticky", "poor", CODE, "good default", id="unless that is clearly better"),
        pytest.param("scoring", "fair", CHAT, "good score", id="without sticky nobody stays"),
        pytest.param("default", "", CODE, "good default", id="only default is an answer"),
        pytest.param("rules", "", CODE, "fair rule:r", id="only rules, and one holds"),
        pytest.param("rules cache scoring", "", CODE, "fair rule:r", id="rules above the cache"),
    ],
)
def test_a_ladder_in_another_order(ladder: str, incumbent: str, features: Features, expected: str) -> None:
    policy = laid(ladder=tuple(map(Step, ladder.split())), rules=(rule("fair"),))
    house = House(policy)
    if incumbent:
        house.serves(incumbent)
    assert said(house.up(features)) == expected
    assert said(house.up(features)) == expected


def test_every_step_has_a_rung() -> None:
    assert set(STEPS) == set(Step)


# --- the judge -----------------------------------------------------------------------------------

JUDGED = laid(judge=JudgePolicy(enabled=True, model="poor", intent_margin=0.2, model_margin=0.0))


def unsure(policy: RoutingPolicy = JUDGED) -> House:
    house = House(policy)
    house.confidence = 0.5
    return house


def asks(house: House, features: Features = CODE, **how: Any) -> judge.Question | None:
    climb = house.climb(features, **how)
    take(Step.JUDGE, climb)
    return climb.question


@pytest.mark.parametrize(
    ("policy", "confidence", "features", "expected"),
    [
        pytest.param(JUDGED, 0.5, CODE, True, id="when two intents are close"),
        pytest.param(JUDGED, 0.7, CODE, False, id="not when they are far enough apart"),
        pytest.param(PLAIN, 0.5, CODE, False, id="not when it is switched off"),
        pytest.param(JUDGED, 0.5, replace(CODE, background="title"), False, id="not for chores"),
        pytest.param(JUDGED, 0.5, replace(CODE, tool_loop=True), False, id="not inside a tool loop"),
        pytest.param(JUDGED, 0.5, replace(CODE, prompt_tokens=10**6), False, id="not when nobody can serve"),
        pytest.param(
            laid(judge=JudgePolicy(enabled=True, model="gone")),
            0.5,
            CODE,
            False,
            id="not when it is left out",
        ),
    ],
)
def test_the_judge_is_asked(
    policy: RoutingPolicy, confidence: float, features: Features, expected: bool
) -> None:
    house = House(policy)
    house.confidence = confidence
    assert (asks(house, features) is not None) is expected


@pytest.mark.parametrize(
    ("margin", "features", "expected"),
    [
        pytest.param(0.1, CHAT, True, id="when two models that answer otherwise are close"),
        pytest.param(0.01, CHAT, False, id="not when they are further apart"),
        pytest.param(0.1, CODE, False, id="not when the best one leads by more"),
        pytest.param(0.0, CHAT, False, id="not when that is switched off"),
    ],
)
def test_the_judge_is_asked_about_models(margin: float, features: Features, expected: bool) -> None:
    house = House(laid(judge=JudgePolicy(enabled=True, model="poor", model_margin=margin)))
    assert (asks(house, features) is not None) is expected


def test_no_judge_is_asked_to_tell_twins_apart() -> None:
    models = (MODELS[0], replace(MODELS[0], id="twin"), MODELS[2])
    house = House(laid(judge=JudgePolicy(enabled=True, model="poor", model_margin=0.1)), models)
    assert asks(house, CHAT) is None


def test_a_verdict_tells_what_it_changed() -> None:
    house = unsure()
    question = asks(house)
    assert question is not None
    house.router.judged(question, judge.Verdict("chat", 0.9, 0.1))
    climb = house.climb(session="")
    take(Step.JUDGE, climb)
    told = climb.judged
    assert told is not None
    assert (told.before.top, told.model_before, told.intent) == ("code", "good", "chat")


def test_the_judge_is_not_asked_while_its_circuit_is_shut_or_the_climb_may_not_wait() -> None:
    house = unsure()
    assert asks(house, judging=False) is None
    house.shut = {"poor"}
    assert asks(house) is None


def test_a_verdict_decides_and_is_kept() -> None:
    house = unsure()
    question = asks(house)
    assert question is not None
    house.router.judged(question, judge.Verdict("chat", 0.9, 0.1))
    climb = house.climb(session="")
    assert said(take(Step.JUDGE, climb)) == "good judge"
    assert climb.classification.top == "chat"
    assert climb.classification.difficulty == pytest.approx(0.9 * 0.1 + 0.1 * 0.5)
    assert said(house.up(session="")) == "good cache"


def test_without_a_verdict_the_ladder_goes_on() -> None:
    house = unsure()
    assert asks(house) is not None
    assert said(house.up(judging=False)) == "good score"


# --- always --------------------------------------------------------------------------------------


@given(
    asked=st.lists(
        st.tuples(
            st.sampled_from([CODE, CHAT, replace(CODE, tool_loop=True), replace(CHAT, prompt_tokens=9000)]),
            st.sets(st.sampled_from(["good", "fair", "poor"])),
            st.sampled_from(["", "s", "t"]),
            st.floats(0.0, 40.0),
        ),
        max_size=12,
    ),
    rules=st.lists(st.sampled_from([rule("poor"), rule("good", intent=("chat",)), rule("gone")])).map(tuple),
    ladder=st.permutations(list(Step)).map(tuple),
)
def test_no_rung_ever_chooses_who_is_shut_while_somebody_able_is_not(
    asked: list[tuple[Features, set[str], str, float]], rules: tuple[Rule, ...], ladder: tuple[Step, ...]
) -> None:
    house = House(laid(rules=rules, ladder=ladder, cache=CachePolicy(ttl=60.0)))
    for features, shut, session, waited in asked:
        house.now += waited
        house.shut = shut
        choice = house.up(features, session)
        able = {model.id for model in MODELS if features.prompt_tokens < model.context_window}
        assert choice is not None
        assert choice.model in (able - shut or able)
        if session:
            house.serves(choice.model, session)


@given(
    asked=st.lists(st.tuples(st.sampled_from([CODE, CHAT]), st.sets(st.sampled_from(["good", "fair"])))),
    rules=st.lists(st.sampled_from([rule("fair"), rule("good", intent=("chat",))])).map(tuple),
)
def test_the_cache_changes_the_route_and_never_the_model(
    asked: list[tuple[Features, set[str]]], rules: tuple[Rule, ...]
) -> None:
    cached, fresh = House(laid(rules=rules)), House(laid(rules=rules, cache=CachePolicy(size=0)))
    for features, shut in asked:
        cached.shut = fresh.shut = shut
        one, other = cached.up(features, ""), fresh.up(features, "")
        assert one is not None
        assert other is not None
        assert one.model == other.model


def test_a_climb_is_of_one_mind_about_circuits() -> None:
    answers = iter([frozenset({"good"}), frozenset[str]()])
    policy = laid(ladder=(Step.SCORING,))
    router = Router(
        policy,
        MODELS,
        (),
        lambda _: Classification((("code", 1.0),)),
        new_memory(policy, lambda: 0.0),
        lambda _: next(answers),
        lambda _: None,
    )
    climb = Climb(router.ground, lambda: CODE, 0, {}, "balanced", "", False)
    first = climb.shut
    assert climb.shut == first
    assert len(first) == 1


def test_priors_are_part_of_the_scores() -> None:
    models = (
        Model("slow", "p", "u", weights=Priors(0.5, 0.1)),
        Model("fast", "p", "u", weights=Priors(0.5, 0.9)),
    )
    assert said(House(RoutingPolicy(), models).up()) == "fast score"
