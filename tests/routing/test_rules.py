"""Which rules hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import Struct

from proxy.routing.language import language
from proxy.routing.policy import Condition, Rule
from proxy.routing.rules import TESTS, headers, holding, holds, prepare
from proxy.types import Classification, Features, Need

FEATURES = Features("was ist das", prompt_tokens=100, needs=frozenset({Need.TOOLS, Need.VISION}))
CHORE = Features("ask", background="title")
SEEN = Classification((("code", 0.7), ("math", 0.3)), difficulty=0.6)


class Asked(Struct):
    """What a climb shows to rules, all of it known."""

    features: Features
    classification: Classification
    headers: Mapping[str, str]
    profile: str

    @property
    def language(self) -> str:
        return language(self.features.ask)


def asked(features: Features = FEATURES, sent: dict[str, str] | None = None) -> Asked:
    return Asked(features, SEEN, sent or {"x-team": "red", "accept": "*/*"}, "cheap")


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        pytest.param({}, True, id="an empty condition always holds"),
        pytest.param({"intent": ("code",)}, True, id="the leading intent is the one"),
        pytest.param({"intent": ("math", "code")}, True, id="or one of them"),
        pytest.param({"intent": ("math",)}, False, id="the second intent doesn't lead"),
        pytest.param({"min_confidence": 0.7}, True, id="confidence is reached exactly"),
        pytest.param({"min_confidence": 0.71}, False, id="confidence is not reached"),
        pytest.param({"intent": ("code",), "min_confidence": 0.9}, False, id="all members must hold"),
        pytest.param({"profile": ("cheap",)}, True, id="the profile is the one"),
        pytest.param({"profile": ("best", "fast")}, False, id="the profile is another"),
        pytest.param({"language": ("fr", "de")}, True, id="the language is one of them"),
        pytest.param({"language": ("fr",)}, False, id="the language is another"),
        pytest.param({"needs": (Need.TOOLS,)}, True, id="the need is among those of the request"),
        pytest.param({"needs": (Need.TOOLS, Need.AUDIO)}, False, id="one of the needs is not"),
        pytest.param({"background": ("any",)}, False, id="an ordinary ask is no chore"),
        pytest.param({"min_prompt_tokens": 100}, True, id="just long enough"),
        pytest.param({"min_prompt_tokens": 101}, False, id="too short"),
        pytest.param({"max_prompt_tokens": 100}, True, id="just short enough"),
        pytest.param({"max_prompt_tokens": 99}, False, id="too long"),
        pytest.param({"max_prompt_tokens": 0}, False, id="a bound of nought is a bound"),
        pytest.param({"min_difficulty": 0.6}, True, id="just hard enough"),
        pytest.param({"min_difficulty": 0.61}, False, id="too easy"),
        pytest.param({"max_difficulty": 0.6}, True, id="just easy enough"),
        pytest.param({"max_difficulty": 0.0}, False, id="too hard"),
        pytest.param({"headers": {"x-team": "red"}}, True, id="the header has the value"),
        pytest.param({"headers": {"x-team": "blue"}}, False, id="the header has another value"),
        pytest.param({"headers": {"x-team": "red", "x-env": "prod"}}, False, id="a header is missing"),
    ],
)
def test_a_condition(when: dict[str, Any], expected: bool) -> None:
    assert holds(Condition(**when), asked()) is expected


@pytest.mark.parametrize(
    ("chores", "expected"),
    [
        pytest.param(("any",), True, id="any chore"),
        pytest.param(("tags", "title"), True, id="this chore among others"),
        pytest.param(("tags",), False, id="another chore"),
    ],
)
def test_a_condition_on_chores(chores: tuple[str, ...], expected: bool) -> None:
    assert holds(Condition(background=chores), asked(CHORE)) is expected


def rule(name: str, **when: Any) -> Rule:
    return Rule(name, Condition(**when), "m")


def test_the_rules_that_hold_come_in_their_order() -> None:
    rules = [rule("a", intent=("math",)), rule("b", language=("de",)), rule("c"), rule("d", profile=("x",))]
    assert [found.name for found in holding(prepare(rules), asked())] == ["b", "c"]


def test_every_member_of_a_condition_has_a_test() -> None:
    assert set(TESTS) == set(Condition.__struct_fields__)


def test_a_condition_that_several_rules_share_is_asked_once() -> None:
    when, other = Condition(intent=("math",)), Condition()
    prepared = prepare([Rule("a", when, "m"), Rule("a", when, "n"), Rule("b", other, "o")])
    assert [[rule.model for rule in members] for _, _, members in prepared] == [["m", "n"], ["o"]]
    assert [rule.model for rule in holding(prepared, asked())] == ["o"]


def test_headers_are_those_that_some_rule_reads() -> None:
    rules = [rule("a", headers={"x-b": "1"}), rule("b", headers={"x-a": "1", "x-b": "2"}), rule("c")]
    assert headers(rules) == ("x-a", "x-b")
