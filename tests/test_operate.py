"""An operator's orders, carried out by one process's circuits."""

from __future__ import annotations

from math import inf

import pytest

from proxy.dispatch.breaker import Breakers, Refusal
from proxy.dispatch.policy import BreakerPolicy, StatsPolicy
from proxy.dispatch.stats import Stats
from proxy.operate import forget, health, heed, moves, obstacle
from proxy.routing.adapt import Adapt, Signal
from proxy.routing.policy import AdaptPolicy
from proxy.server.orders import Action, Disabled, Forced, Orders

NOW = 5000.0
OUT = Orders(disabled={"a": Disabled(1.0)})
OPEN, CLOSE = (Orders(forced={"a": Forced(action, 1.0)}) for action in (Action.OPEN, Action.CLOSE))


@pytest.fixture
def breakers() -> Breakers:
    return Breakers(BreakerPolicy(), lambda: 100.0, lambda: 0.5)


def refusal(breakers: Breakers, model: str = "a") -> tuple[str, float] | None:
    answer = breakers.admit(model)
    return (answer.reason, answer.retry_after) if isinstance(answer, Refusal) else None


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        pytest.param(Orders(), OUT, ("disabled", inf), id="disabled until further notice"),
        pytest.param(
            Orders(), Orders(disabled={"a": Disabled(1.0, NOW + 30)}), ("disabled", 30.0), id="for a while"
        ),
        pytest.param(Orders(), Orders(disabled={"a": Disabled(1.0, NOW - 1)}), None, id="that has passed"),
        pytest.param(OUT, Orders(), None, id="enabled"),
        pytest.param(Orders(), OPEN, ("forced_open", 15.0), id="forced open"),
        pytest.param(OPEN, CLOSE, None, id="forced closed after that"),
        pytest.param(OPEN, OPEN, ("forced_open", 15.0), id="still forced open"),
    ],
)
def test_orders_are_heeded(
    breakers: Breakers, before: Orders, after: Orders, refused: tuple[str, float] | None
) -> None:
    heed(breakers, Orders(), before, ["a"], NOW)
    heed(breakers, before, after, ["a"], NOW)
    assert refusal(breakers) == refused


def test_models_that_are_not_here_are_left_alone(breakers: Breakers) -> None:
    heed(breakers, Orders(), Orders(disabled={"gone": Disabled(1.0)}), ["a"], NOW)
    assert breakers.snapshot() == {}


def test_a_circuit_that_was_not_forced_keeps_what_it_has_learned(breakers: Breakers) -> None:
    breakers.throttle("a", 9.0)
    heed(breakers, Orders(), OUT, ["a"], NOW)
    heed(breakers, OUT, Orders(), ["a"], NOW)
    assert refusal(breakers) == ("throttled", 9.0)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (Disabled(1.0), "disabled"),
        (Disabled(1.0, None, "mended"), "disabled: mended"),
        (Disabled(1.0, 4e9, "mended"), "disabled until 2096-10-02T07:06:40Z: mended"),
        (Disabled(1.0, 2.0, "mended"), "throttled, 9.0 s left"),
    ],
    ids=["for good", "with a reason", "until", "that has ended"],
)
def test_what_stands_in_the_way_is_said(breakers: Breakers, order: Disabled, told: str) -> None:
    breakers.throttle("a", 9.0)
    assert obstacle(breakers, Orders(disabled={"a": order}), "a") == told


# --- health, and what was learned ----------------------------------------------------------------


def taught() -> Adapt:
    """Two models, of which the first fails lately."""
    adapt = Adapt(AdaptPolicy(enabled=True), lambda: 0.0, lambda *_: None)
    for _ in range(100):
        adapt.observe("a", Signal.SUCCESS, 0.0)
        adapt.observe("b", Signal.SUCCESS, 1.0)
    return adapt


def test_health_is_told_of_each_model_seen_or_not(breakers: Breakers) -> None:
    stats = Stats(StatsPolicy(), lambda: 100.0)
    stats.observe("a", True, 0.5, None)
    told = health(["a", "b"], breakers, stats, taught(), {"a": 2})
    assert [(told[model].in_flight, list(told[model].moved)) for model in "ab"] == [(2, ["success"]), (0, [])]
    assert (told["a"].observed["evidence"] > 0, told["b"].observed["evidence"]) == (True, 0)
    assert told["b"].circuit["state"] == "closed"


@pytest.mark.parametrize(
    ("model", "forgotten", "left"),
    [
        pytest.param("a", ["a"], {}, id="one that was moved"),
        pytest.param("b", [], {"a": -0.3}, id="one that was not"),
        pytest.param(None, ["a"], {}, id="all"),
    ],
)
def test_what_was_learned_is_told_and_forgotten(
    model: str | None, forgotten: list[str], left: dict[str, float]
) -> None:
    adapt = taught()
    assert list(forget(adapt, model)) == forgotten
    assert {id: terms["success"] for id, terms in moves(adapt).items()} == left
