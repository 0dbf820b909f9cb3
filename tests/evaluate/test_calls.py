"""Calls with feedback: a log in which it is known what chance would have made of it."""

from __future__ import annotations

from random import Random

import pytest

from proxy.evaluate import text
from proxy.evaluate.calls import Call, CallCard, lead, measure, told_apart


def simulated(knows: bool, rows: int = 1_500) -> list[Call]:
    """The small model fails at what is hard, the large one seldom. Who knows gives it the hard ones, mostly;
    the other one gives it as many by chance."""
    chance, calls = Random(4), []
    for _ in range(rows):
        hard = chance.random()
        sent_up = chance.random() < ((0.9 if hard > 0.5 else 0.1) if knows else 0.5)
        right = chance.random() > (0.1 if sent_up else hard)
        intent = "math" if hard > 0.3 else "chat"
        calls.append(
            Call("large" if sent_up else "small", float(right), 9e-4 if sent_up else 1e-4, intent, hard)
        )
    return calls


def told(calls: list[Call]) -> CallCard:
    return measure(calls, 60, Random(1).random)


def test_who_knows_is_better_than_chance_at_the_same_cost_and_who_does_not_is_not() -> None:
    knows, blind = told(simulated(True)), told(simulated(False))
    assert knows.lead.above_zero and not blind.lead.above_zero
    # By chance: 1 - (0.1 + mean hard) / 2 = 0.70; known: 1 - E[hard | kept]*.5 - .05 = 0.80. Within thirds of
    # difficulty no more than most of that can be seen.
    assert knows.lead.value is not None and 0.04 < knows.lead.value < 0.12


def test_models_difficulty_and_overlap_are_told() -> None:
    card = told(simulated(True))
    assert set(card.models) == {"large", "small"} and card.calls == 1_500
    assert card.models["large"].difficulty > card.models["small"].difficulty
    assert card.models["large"].cost.value == pytest.approx(9e-4)
    assert card.compared == 1.0
    assert card.told_apart.value is not None and card.told_apart.value > 0.5


def test_an_intent_that_one_model_serves_alone_compares_with_nothing() -> None:
    calls = [Call("a", 1.0, 1.0, "math", 0.5)] * 5 + [Call("b", 0.0, 2.0, "chat", 0.5)] * 5
    card = told(calls)
    assert card.compared == 0.0 and card.lead.value == pytest.approx(0.0) and not card.lead.above_zero


def test_the_lead_of_four_calls_worked_by_hand() -> None:
    # In each stratum both models answered once, at equal cost, as by chance.
    even = {
        "easy": {"a": (1, 1.0, 1.0), "b": (1, 0.0, 1.0)},
        "hard": {"a": (1, 0.0, 1.0), "b": (1, 1.0, 1.0)},
    }
    assert lead(even) == pytest.approx(0.0)
    # Three quarters of each stratum went to whom it suits; shares are even, so chance would be right in half.
    suited = {
        "easy": {"a": (3, 3.0, 3.0), "b": (1, 0.0, 1.0)},
        "hard": {"a": (1, 0.0, 1.0), "b": (3, 3.0, 3.0)},
    }
    assert lead(suited) == pytest.approx(0.75 - 0.5)


def test_a_dear_model_is_compared_with_chance_that_spends_as_much() -> None:
    # It was asked three times in four and is always right; chance that spends the same does as well.
    table = {"all": {"dear": (3, 3.0, 30.0), "cheap": (1, 0.0, 1.0)}}
    assert lead(table) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("calls", "found"),
    [
        ([(1.0, 0.1), (0.0, 0.9)], 1.0),
        ([(1.0, 0.9), (0.0, 0.1)], 0.0),
        ([(1.0, 0.5), (0.0, 0.5)], 0.5),
        ([(1.0, 0.1), (0.5, 0.5), (0.0, 0.3)], 2 / 3),
        ([(1.0, 0.1), (1.0, 0.9)], None),
    ],
    ids=[
        "the worse was harder",
        "the worse was easier",
        "alike",
        "two of three pairs",
        "no difference in feedback",
    ],
)
def test_difficulty_tells_good_from_bad(calls: list[tuple[float, float]], found: float | None) -> None:
    assert told_apart([Call("m", score, 1.0, "x", hard) for score, hard in calls]) == found


def test_models_are_not_mixed_when_feedback_is_told_apart() -> None:
    assert told_apart([Call("a", 1.0, 1.0, "x", 0.1), Call("b", 0.0, 1.0, "x", 0.9)]) is None


def test_the_text_ends_with_the_verdict() -> None:
    lines = list(text.calls(told(simulated(True))))
    assert lines[0] == "1,500 calls with feedback; 95 % intervals" and lines[-1].endswith(
        ": better than chance"
    )
