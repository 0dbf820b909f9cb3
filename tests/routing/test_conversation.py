"""What a turn leaves for the next, and what it costs to leave a conversation's model."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.lot import Lot
from proxy.routing.conversation import (
    CACHEABLE,
    Held,
    continues,
    conversation,
    fingerprint,
    follow,
    meet,
    switching,
)
from proxy.routing.policy import StickyPolicy, Weights
from proxy.routing.scoring import felt
from proxy.routing.standing import Candidate, Stand, candidates
from proxy.types import Classification, Features, Incumbent, Model, Need, Price, RoutePlan

CODE = Classification((("code", 0.9), ("chat", 0.1)))
SECOND = Features("and now?", turns=2, prompt_tokens=5_000)
HELD = Held("a", "b", "code", 5_000, 7, 100.0)


# --- what the next turn finds --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "later", "asked", "cached", "again"),
    [
        pytest.param(HELD, 10.0, 8, 5_000, False, id="a prompt that is still cached"),
        pytest.param(HELD, 301.0, 8, 0, False, id="one that is no more"),
        pytest.param(replace(HELD, tokens=CACHEABLE - 1), 1.0, 8, 0, False, id="one too short to be cached"),
        pytest.param(HELD, 10.0, 7, 5_000, True, id="the same messages again"),
        pytest.param(replace(HELD, asked=0), 10.0, 0, 5_000, False, id="messages that are no sign"),
    ],
)
def test_meet(held: Held, later: float, asked: int, cached: int, again: bool) -> None:
    assert meet(held, asked, held.at + later, StickyPolicy()) == Incumbent(
        "a", "b", "code", cached, again, turns=1
    )


@pytest.mark.parametrize(
    ("said", "features", "named", "known"),
    [
        pytest.param(b"8", SECOND, False, True, id="a later turn"),
        pytest.param(b"", SECOND, False, True, id="one too long to be remembered"),
        pytest.param(b"", replace(SECOND, ask="\ud800"), False, True, id="with half a character"),
        pytest.param(b"8", replace(SECOND, turns=1), True, True, id="the first of a named conversation"),
        pytest.param(b"8", replace(SECOND, turns=1), False, False, id="a first one may be two callers'"),
    ],
)
def test_messages_are_known_again(said: bytes, features: Features, named: bool, known: bool) -> None:
    made = fingerprint(said, features, named)
    assert (made != 0) is known
    assert made == fingerprint(said, features, named)
    assert not known or made != fingerprint(b"7" if said else b"", replace(features, ask="x"), named)


def test_every_process_knows_conversations_and_messages_by_the_same_numbers() -> None:
    asked = """
from proxy.routing.conversation import conversation, fingerprint
from proxy.types import Features
now = Features("and now?", turns=2)
print(conversation("ab" * 12, "fast"), fingerprint(b"said", now, False), fingerprint(b"", now, False))
"""
    told = {
        subprocess.run(
            [sys.executable, "-c", asked],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


@given(names=st.sets(st.text("0123456789abcdef", min_size=24, max_size=24), min_size=2, max_size=20))
def test_conversations_are_told_apart(names: set[str]) -> None:
    numbers = {conversation(name, profile) for name in names for profile in ("", "fast", "best")}
    assert len(numbers) == 3 * len(names)
    assert max(numbers) < 2**60


@pytest.mark.parametrize(
    ("features", "task", "expected"),
    [
        pytest.param(SECOND, "code", True, id="the same intent leads"),
        pytest.param(SECOND, "chat", False, id="another one does"),
        pytest.param(replace(SECOND, turns=1), "code", False, id="a first turn continues nothing"),
        pytest.param(replace(SECOND, turns=1, tool_loop=True), "code", True, id="but for its own tools"),
    ],
)
def test_continues(features: Features, task: str, expected: bool) -> None:
    assert continues(Incumbent("a", "a", task), features, CODE) is expected


# --- what a turn leaves --------------------------------------------------------------------------


def plan(*models: str, route: str = "score", **members: Any) -> RoutePlan:
    members = {"features": SECOND, "classification": CODE, "ranking": dict.fromkeys("abc", 1.0), **members}
    return RoutePlan(models, route, **members)


BEFORE = Incumbent("a", "b", "code")
DRAWN = Lot({"a": 0.9, "c": 0.1}, 0.05, "a")
LOOP = replace(SECOND, tool_loop=True)


@pytest.mark.parametrize(
    ("made", "answered", "hedged", "model", "floor"),
    [
        pytest.param(plan("a", "b"), "a", False, "a", "a", id="with whom it was planned for"),
        pytest.param(plan("a", "b"), "b", False, "b", "a", id="a fallback stands in"),
        pytest.param(plan("a", "b"), "b", True, "a", "a", id="a hedge moves nothing"),
        pytest.param(
            plan("a", "b", features=replace(SECOND, needs=frozenset({Need.TOOLS}))), "b", True, "b", "a",
            id="but where it may have begun with tools",
        ),
        pytest.param(plan("c", lot=DRAWN), "c", False, "c", "a", id="who was drawn stands in"),
        pytest.param(plan("c", incumbent=BEFORE), "c", False, "c", "c", id="a better one takes over"),
        pytest.param(
            plan("c", incumbent=BEFORE, shut=frozenset("b")), "c", False, "c", "b",
            id="one that stands in does not",
        ),
        pytest.param(
            plan("c", incumbent=BEFORE, ranking={"c": 1.0}), "c", False, "c", "b",
            id="nor where the other can't serve",
        ),
        pytest.param(plan("a", incumbent=BEFORE, features=LOOP), "a", False, "a", "b", id="nor at work"),
        pytest.param(
            plan("c", incumbent=BEFORE, features=LOOP, route="escalation"), "c", False, "c", "c",
            id="but for an escalation",
        ),
        pytest.param(
            plan("c", incumbent=replace(BEFORE, task="chat"), shut=frozenset("b")), "c", False, "c", "c",
            id="another task has another model",
        ),
    ],
)  # fmt: skip
def test_follow(made: RoutePlan, answered: str, hedged: bool, model: str, floor: str) -> None:
    held = follow(made, answered, hedged, 3.0)
    assert (held.model, held.floor, held.task, held.tokens, held.at) == (model, floor, "code", 5_000, 3.0)


# --- what leaving costs --------------------------------------------------------------------------

BALANCED = Weights()
NEW = Stand(0.7, 1.0, 0.8)


def candidate(price: Price | None) -> Candidate:
    return candidates([Model("m", "p", "m", price=price)])[0]


OPUS = candidate(Price(5.0, 25.0, 0.5))


@pytest.mark.parametrize(
    ("kept", "cached", "weights"),
    [
        pytest.param(OPUS, 0, BALANCED, id="nothing is cached"),
        pytest.param(candidate(None), 5_000, BALANCED, id="the price is unknown"),
        pytest.param(candidate(Price(5.0, 25.0)), 5_000, BALANCED, id="its provider keeps nothing"),
        pytest.param(OPUS, 5_000, Weights(latency=0.0, cost=0.0), id="neither cost nor time matter"),
    ],
)
def test_leaving_costs_nothing_where(kept: Candidate, cached: int, weights: Weights) -> None:
    assert switching(kept, NEW, cached, 5_000, 300, weights) == 0.0


def test_leaving_costs_the_difference_to_the_cached_price_and_the_reading() -> None:
    cost = switching(OPUS, NEW, 20_000, 20_000, 300, Weights(latency=0.0, cost=1.0))
    # 20,000 tokens at 0.50 instead of 5.00 USD per million, and 300 at 25: 10.75 cents -> 1.75 cents.
    assert cost == pytest.approx(felt(0.1075) - felt(0.0175))
    time = switching(OPUS, NEW, 22_000, 20_000, 300, Weights(latency=1.0, cost=0.0))
    # 2 s later: 3 / 0.7 - 3 = 1.2857 s until done become 3.2857 s.
    assert time == pytest.approx(0.7 - 3.0 / (3.0 + 3.2857), abs=1e-3)


def test_no_more_is_lost_than_the_prompt_has() -> None:
    weights = Weights(latency=0.0, cost=1.0)
    assert switching(OPUS, NEW, 9_000, 5_000, 300, weights) == switching(
        OPUS, NEW, 5_000, 5_000, 300, weights
    )


@given(
    cached=st.integers(0, 400_000),
    more=st.integers(0, 400_000),
    prompt=st.integers(1, 400_000),
    latency=st.floats(0.01, 1.0),
)
def test_more_in_the_cache_never_costs_less(cached: int, more: int, prompt: int, latency: float) -> None:
    stand = Stand(latency, 1.0, 0.8)
    one = switching(OPUS, stand, cached, prompt, 300, BALANCED)
    other = switching(OPUS, stand, cached + more, prompt, 300, BALANCED)
    assert 0.0 <= one <= other + 1e-12 <= BALANCED.cost + BALANCED.latency + 1e-9
