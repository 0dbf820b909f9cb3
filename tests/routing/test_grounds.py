"""A decision can be taken again from what was kept of it, and comes out the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dispatch.call import cost
from proxy.errors import ApiError
from proxy.lot import Lot
from proxy.record import Grounds
from proxy.routing.effort import OWN
from proxy.routing.grounds import grounds
from proxy.routing.policy import Condition, EffortPolicy, RoutingPolicy, Rule, StickyPolicy
from proxy.routing.replay import Replay, Stored, described
from proxy.routing.router import Router
from proxy.routing.standing import Observed
from proxy.types import (
    Classification,
    Features,
    Incumbent,
    Model,
    Need,
    Price,
    Priors,
    RoutePlan,
    Usage,
)
from tests.routing.test_router import MODELS, ask, house, planned

RULED = RoutingPolicy(
    rules=(
        Rule("german", Condition(language=("de",)), "or/plain"),
        Rule("red", Condition(headers={"x-team": "red"}, min_prompt_tokens=20), "groq/small"),
    ),
    sticky=StickyPolicy(margin=0.3),
    effort=EffortPolicy(enabled=True),
)
TEXTS = ("write code", "Schreibe bitte ein Gedicht über den Herbst", "Prove it, step by step, " * 9, "hi")


class Seen:
    """Statistics that are the same for every model but for the latency."""

    success, speed, evidence = 0.9, 80.0, 20.0

    def __init__(self, ttft: float) -> None:
        self.ttft = ttft


def stored(made: RoutePlan, epoch: str = "then", **members: Any) -> bytes:
    """A record as the call log keeps it."""
    seen = made.classification
    record: dict[str, Any] = {
        "request_id": "req-1",
        "requested_model": "auto",
        "selected_model": made.models[0],
        "route": made.route,
        "profile": made.profile,
        "plan": made.models,
        "scores": made.ranking,
        "intents": dict(seen.intents) if seen else {},
        "difficulty": seen.difficulty if seen else None,
        "grounds": msgspec.structs.replace(grounds(made, epoch), standing=made.standing),
        "usage": Usage(1_000_000, 1_000_000),
        "cost_usd": 1.0,
        "something_else": [1],
    }
    return msgspec.json.encode({**record, **members})


def replay(router: Router, epoch: str = "now", models: tuple[Model, ...] = MODELS, **how: Any) -> Replay:
    classify = how.get("classify", lambda _: Classification((("code", 1.0),), 0.1))
    return Replay(router.apart(), models, epoch, classify, cost)


class TestSameConfiguration:
    @given(
        text=st.sampled_from(TEXTS),
        difficulty=st.floats(0, 1),
        shut=st.sets(st.sampled_from([model.id for model in MODELS])),
        latency=st.dictionaries(st.sampled_from([model.id for model in MODELS]), st.floats(0.1, 30)),
        profile=st.sampled_from(["auto", "auto:cheap", "auto:fast", "auto:best"]),
        tools=st.booleans(),
        team=st.sampled_from(["", "red"]),
        incumbent=st.sampled_from(["", "or/large", "or/plain", "groq/small"]),
        twice=st.booleans(),
        own_effort=st.booleans(),
    )
    def test_the_same_record_gives_the_same_decision(
        self,
        text: str,
        difficulty: float,
        shut: set[str],
        latency: dict[str, float],
        profile: str,
        tools: bool,
        team: str,
        incumbent: str,
        twice: bool,
        own_effort: bool,
    ) -> None:
        def view(model: str) -> Observed | None:
            return Seen(latency[model]) if model in latency else None

        router = house(RULED, shut=shut, difficulty=difficulty, view=view)
        fields: dict[str, Any] = {"reasoning_effort": "low"} if own_effort else {}
        if tools:
            fields["tools"] = [{"type": "function", "function": {"name": "f"}}]
        request, headers = ask(profile, text, **fields), {"x-team": team} if team else {}
        if incumbent:
            first = planned(router, ask(profile, text))
            router.served(first, "session", incumbent)
        for _ in range(1 + twice):
            plan = router.plan(request, headers, "session")
            assert isinstance(plan, RoutePlan)
        # With the totals that were kept, and with totals worked out from what was known of the models.
        for epoch in ("then", "now"):
            again = replay(router, epoch).take(stored(plan))
            assert again is not None and again.after == plan.models[0], (plan.route, again)
            record = msgspec.json.decode(stored(plan), type=Stored)
            decided = replay(router, epoch).plan(record)
            assert (decided.models, decided.effort_why) == (plan.models, plan.effort_why)
            assert decided.effort == plan.effort and (plan.effort is None) is own_effort
            assert replay(router, epoch).plan(record, traced=True).models == plan.models
            assert not (again.changed or again.reordered or again.left_out)
        traced = router.plan(request, headers, "session", traced=True)
        assert isinstance(traced, RoutePlan) and traced.models == plan.models

    def test_the_grounds_are_small(self) -> None:
        plan = planned(house(RULED), ask())
        assert len(msgspec.json.encode(grounds(plan, "0123456789abcdef"))) < 400


class TestAnotherConfiguration:
    def test_the_summary_says_what_would_change(self) -> None:
        plan = planned(house(difficulty=0.9), ask())
        assert plan.models[0] == "or/large"
        other = replay(house(models=MODELS[::2]), models=MODELS[::2])
        again = other.take(stored(plan, cost_usd=18.0))
        assert again is not None and again.changed
        assert (again.after, again.why) == ("or/plain", "or/large is not ready here")
        assert (again.cost_before, again.cost_after) == (18.0, 2.0)
        summary = described(other.summary)
        assert summary["moves"] == [{"from": "or/large", "to": "or/plain", "calls": 1}]
        assert summary["cost_usd"] == {"calls": 1, "before": 18.0, "after": 2.0}

    @pytest.mark.parametrize(
        ("models", "policy", "why"),
        [
            pytest.param(
                (*MODELS[:1], msgspec.structs.replace(MODELS[1], supports=frozenset()), *MODELS[2:]),
                RoutingPolicy(),
                "or/large does not support tools",
                id="a need that is no longer supported",
            ),
            pytest.param(
                MODELS,
                RoutingPolicy(rules=(Rule("all", Condition(), "groq/small"),)),
                "rule:all holds",
                id="a rule",
            ),
            pytest.param(
                (MODELS[0], MODELS[1], Model("best", "p", "b", {"code": 1.0}, (), frozenset(Need), 9000, None,
                                             Priors(1, 1), Price(0, 0))),
                RoutingPolicy(),
                "another total is higher",
                id="a better model",
            ),
        ],
    )  # fmt: skip
    def test_why(self, models: tuple[Model, ...], policy: RoutingPolicy, why: str) -> None:
        tools = [{"type": "function", "function": {"name": "f"}}]
        plan = planned(house(difficulty=0.9), ask(tools=tools))
        again = replay(house(policy, models), models=models).take(stored(plan))
        assert again is not None and (again.before, again.why) == ("or/large", why)

    def test_what_nobody_could_serve_would_be_refused(self) -> None:
        plan = planned(house(), ask(text="long " * 30_000))
        other = replay(house(models=MODELS[:1]), models=MODELS[:1])
        again = other.take(stored(plan))
        assert again is not None and again.after is None and "tokens" in again.why
        assert other.summary.reasons == {"context_length_exceeded": 1}
        assert (other.summary.refused, other.summary.changed) == (1, 1)

    def test_who_is_left_out_and_who_would_be_skipped(self) -> None:
        plan = planned(house(difficulty=0.9, shut={"or/plain"}), ask(text="word " * 9000))
        assert plan.models == ("or/large", "or/plain")
        narrow = (MODELS[0], MODELS[1], msgspec.structs.replace(MODELS[2], context_window=8000))
        other = replay(house(models=narrow), models=narrow)
        again = other.take(stored(plan))
        assert again is not None and not again.changed and again.reordered
        assert again.plan == ("or/large",) and again.skipped == ()
        (why,) = again.left_out.values()
        assert why.startswith("context window of 8000 tokens is too small by ")
        same = replay(house())
        assert (found := same.take(stored(plan))) is not None and found.skipped == ("or/plain",)
        told = described(other.summary)
        assert told["left_out"] == [
            {"model": "or/plain", "reason": "context window of 8000 tokens is too small", "calls": 1}
        ]
        assert (told["reordered"], told["changed"], told["unread"]) == (1, 0, 1)
        assert described(same.summary)["skipped"] == {"or/plain": 1}

    def test_records_of_before_are_passed_over(self) -> None:
        run = replay(house())
        record = stored(planned(house(), ask()), time=100.0)
        assert run.take(record, 100.5) is None and run.summary.records == 0
        assert run.take(record, 100.0) is not None and run.summary.records == 1

    def test_words_that_were_kept_are_classified_anew(self) -> None:
        seen: list[Features] = []

        def classify(features: Features) -> Classification:
            seen.append(features)
            return Classification((("prose", 1.0),), 0.0)

        run = replay(house(), classify=classify)
        again = run.take(stored(planned(house(), ask()), prompt="write code"))
        assert again is not None and (again.intent_before, again.intent_after) == ("code", "prose")
        assert [features.ask for features in seen] == ["write code"]
        assert (run.summary.reclassified, run.summary.unread) == (1, 0)

    def test_models_that_were_named_stay_while_they_are_there(self) -> None:
        plan = planned(house(), ask("large"))
        assert plan.route == "explicit"
        kept = replay(house()).take(stored(plan, requested_model="large"))
        gone = replay(house(models=MODELS[2:]), models=MODELS[2:]).take(stored(plan, requested_model="large"))
        assert kept is not None and gone is not None
        assert not kept.changed and (gone.after, "large" in gone.why) == (None, True)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"plan": [], "route": ""}, "it was refused before it was routed"),
        ({"grounds": None}, "its grounds were not kept"),
        ({"intents": {}}, "its intents were not kept"),
    ],
)
def test_what_can_not_be_decided_again_is_counted(members: dict[str, Any], why: str) -> None:
    run = replay(house())
    again = run.take(stored(planned(house(), ask()), **members))
    assert again is not None and again.undecided == why and not again.changed
    assert run.summary.undecided == {why: 1} and run.summary.decided == 0


@pytest.mark.parametrize("line", [b"", b"no JSON", b"[]", b"{}", b'{"request_id": 7}'])
def test_what_is_no_record_is_said(line: bytes) -> None:
    with pytest.raises(ValueError, match="is no call record"):
        replay(house()).take(line)


def test_each_of_the_grounds_is_what_its_name_says() -> None:
    facts = Features("hi", (), 3, 5, frozenset({Need.VISION, Need.TOOLS}), 7, True, "title", True, 9)
    seen = Classification((("writing", 1.0),), 0.5, ("writing:poem",), 0.12345, True)
    plan = RoutePlan(
        ("m",),
        "score",
        facts,
        seen,
        incumbent=Incumbent("m", "n", "writing"),
        shut=frozenset({"z", "y"}),
        headers={"x-team": "red"},
        language="de",
        allowed=frozenset({"m", "b"}),
        tradeoff=4,
        exploring=True,
        lot=Lot({"m": 0.9, "n": 0.1}, 0.5),
        effort_why=OWN,
    )
    assert grounds(plan, "epoch") == Grounds(
        epoch="epoch",
        prompt_tokens=3,
        completion_tokens=5,
        needs=("tools", "vision"),
        turns=7,
        tool_loop=True,
        background="title",
        language="de",
        evidence=("writing:poem",),
        headers={"x-team": "red"},
        incumbent=Incumbent("m", "n", "writing"),
        repeats=True,
        failed_tools=9,
        struggle=0.123,
        leans=True,
        shut=("y", "z"),
        allowed=("b", "m"),
        tradeoff=4,
        exploring=True,
        lot=Lot({"m": 0.9, "n": 0.1}, 0.5),
        own_effort=True,
    )


def test_a_plan_of_named_models_has_grounds_too() -> None:
    kept = grounds(planned(house(), ask("large")), "e")
    assert (kept.epoch, kept.standing, kept.shut) == ("e", {}, ())


def test_nobody_is_able() -> None:
    plan = planned(house(), ask())
    with pytest.raises(ApiError):
        replay(house(models=())).plan(msgspec.json.decode(stored(plan), type=Stored))
