"""Ways to choose, on calls that were drawn: what each is worth is known of the world that they come from."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from proxy.evaluate import text
from proxy.evaluate.drawn import Drawn
from proxy.evaluate.others import ANY, ROUTER, SHUFFLE, DrawnCard, measure
from tests.evaluate.world import World

BOTH = {"small": 0.02, "large": 0.35}
HARD_ONES = World(
    truly={"small": (1.0, 0.2), "large": (0.9, 0.9)},
    thought={"small": (0.95, 0.2), "large": (0.9, 0.9)},
    paid=BOTH,
)
"""The small model fails at hard asks; the router knows it, and sends them to the large one."""


def told(calls: list[Drawn], times: int = 60) -> DrawnCard:
    return measure(calls, times, Random(1).random)


def blind(calls: list[Drawn], chance: Random) -> list[Drawn]:
    """As if the router dealt as many calls to each by chance."""
    choices = [call.choice for call in calls]
    chance.shuffle(choices)
    found = []
    for call, choice in zip(calls, choices, strict=True):
        other = next(model for model in BOTH if model != choice)
        odds = {choice: 0.8, other: 0.2}
        found.append(replace(call, chances=odds, choice=choice))
    return found


def redrawn(calls: list[Drawn], world: World, chance: Random) -> list[Drawn]:
    """Asked again by their chances. How hard each is stands in what the small model was expected to do."""
    easy, hard = world.thought["small"]
    found = []
    for call in calls:
        hardness = (call.terms["small"]["quality"] - easy) / (hard - easy)
        model = chance.choices(list(call.chances), list(call.chances.values()))[0]
        low, high = world.truly[model]
        good = float(chance.random() < low + hardness * (high - low))
        found.append(replace(call, model=model, quality=good, cost=BOTH[model] / 100, paid=BOTH[model]))
    return found


def test_a_router_that_knows_is_better_than_chance_that_spends_the_same_and_one_that_does_not_is_not() -> (
    None
):
    calls = HARD_ONES.calls(Random(1), 3000)
    knows, guesses = told(calls), told(redrawn(blind(calls, Random(2)), HARD_ONES, Random(3)))
    assert knows.lead.above_zero and not guesses.lead.above_zero
    for card in (knows, guesses):
        assert card.ways[SHUFFLE].cost.value == pytest.approx(card.ways[ROUTER].cost.value, rel=0.01)


def test_what_each_way_is_worth_is_told_and_the_interval_holds_it() -> None:
    card = told(HARD_ONES.calls(Random(4), 4000))
    # Over hardness 0..1: small 1 - 0.8 h on average 0.6, large 0.9; any of both 0.75.
    for way, truth in (("always small", 0.6), ("always large", 0.9), (ANY, 0.75)):
        one = card.ways[way]
        assert one.quality.low is not None and one.quality.high is not None
        assert one.quality.low <= truth <= one.quality.high, way
        assert one.calls == card.calls
    assert card.ways["always small"].lead.above_zero
    assert 0.15 < card.away / card.calls < 0.25


def test_a_model_is_compared_on_the_calls_on_which_it_had_a_chance() -> None:
    calls = HARD_ONES.calls(Random(5), 400)
    card = told(
        [
            *calls,
            *[
                replace(call, chances={"large": 0.8, "new": 0.2}, model="large", choice="large")
                for call in calls[:50]
            ],
        ],
        0,
    )
    assert card.ways["always new"].calls == 50 and card.ways["always large"].calls == 450
    assert card.ways[ROUTER].calls == 450 and card.ways[ROUTER].lead.value == pytest.approx(0.0)


def test_the_text_tells_every_way_and_ends_with_the_verdict() -> None:
    lines = list(text.ways(told(HARD_ONES.calls(Random(1), 2000))))
    assert lines[0].startswith("2,000 of them were left to chance, which gave ")
    assert [line.split("  ")[0] for line in lines[2:8]] == [
        "by chances", "router", "always large", "always small", "random", "shuffle",
    ]  # fmt: skip
    assert lines[-1].endswith(": better than chance")


def test_chances_that_can_not_be_trusted_show_nothing() -> None:
    card = measure(HARD_ONES.calls(Random(1), 2000), 60, Random(1).random, amiss="small was asked too often")
    assert "small was asked too often" in list(text.ways(card))[-1]
