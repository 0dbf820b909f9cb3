"""What models are told of a plan's level, and what they refused is not said again."""

from __future__ import annotations

import logging

import pytest

from proxy.dispatch.effort import _MOST, Efforts
from proxy.effort import Effort
from proxy.types import ChatRequest, Features, Model, RoutePlan

LEVELS = (Effort.LOW, Effort.HIGH)
THINKER, TALKER = Model("thinker", "p", "t", reasoning_effort=LEVELS), Model("talker", "p", "t")


def request(*names: str) -> ChatRequest:
    fields = dict.fromkeys(("model", "messages", *names))
    return ChatRequest(b"", fields, "auto", [])


def plan(effort: Effort | None) -> RoutePlan:
    return RoutePlan(("thinker",), "score", Features(ask=""), effort=effort)


HARD = plan(Effort.HIGH)


@pytest.mark.parametrize(
    ("made", "model", "level"),
    [
        pytest.param(HARD, THINKER, "high", id="the plan's level"),
        pytest.param(plan(Effort.NONE), THINKER, "low", id="the nearest that it takes"),
        pytest.param(HARD, TALKER, None, id="a model that takes none"),
        pytest.param(plan(None), THINKER, None, id="a plan without one"),
    ],
)
def test_what_a_model_is_told(made: RoutePlan, model: Model, level: str | None) -> None:
    assert Efforts().of(made, request(), model) == level


def test_a_refusal_holds_for_requests_of_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    efforts = Efforts()
    with caplog.at_level(logging.WARNING):
        efforts.refused(request("tools"), THINKER, Effort.HIGH, "no tools with it")
        efforts.refused(request("tools", "user"), THINKER, Effort.HIGH, "no tools with it")
    assert efforts.of(HARD, request("tools"), THINKER) is None
    assert efforts.of(HARD, request(), THINKER) == "high"
    assert [record.getMessage() for record in caplog.records] == [
        "thinker does not take reasoning_effort high here: no tools with it"
    ]


def test_refusals_are_bounded() -> None:
    efforts = Efforts()
    for number in range(_MOST + 1):
        efforts.refused(request(f"x{number}"), THINKER, Effort.HIGH, "")
    assert efforts.of(HARD, request("x0"), THINKER) == "high"
    assert efforts.of(HARD, request(f"x{_MOST}"), THINKER) is None
