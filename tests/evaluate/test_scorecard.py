"""A simulated field in which it is known what is worth what: the scorecard must find it."""

from __future__ import annotations

from random import Random
from xml.etree import ElementTree

import pytest

from proxy.evaluate import plot, text
from proxy.evaluate.field import Field
from proxy.evaluate.scorecard import DIAL, DIFFICULTY, LENGTH, ORACLE, RANDOM, SHUFFLE, Scorecard, measure

ROWS = 400


def field() -> tuple[Field, list[float]]:
    """The small model fails at hard asks, the large one seldom; length says nothing. And how hard they
    are."""
    chance = Random(11)
    hard = [chance.random() for _ in range(ROWS)]
    lengths = [float(chance.randint(10, 400)) for _ in range(ROWS)]
    small = [float(chance.random() > level) for level in hard]
    large = [float(chance.random() > 0.1) for _ in hard]
    cost = {"small": [1e-6 * size for size in lengths], "large": [9e-6 * size for size in lengths]}
    return Field({"small": small, "large": large}, cost, lengths, "small", "large"), hard


FIELD, HARD = field()
BLIND = [Random(12).random() for _ in range(ROWS)]


def card(difficulty: list[float], above: float | None = None) -> Scorecard:
    choices = ["large" if one > above else "small" for one in difficulty] if above is not None else None
    return measure(
        FIELD, difficulty, {"router auto": choices} if choices else {}, times=200, chance=Random(1).random
    )


def value(card: Scorecard, policy: str, measure: str) -> float:
    found = {**card.curves.get(policy, {}), **card.points.get(policy, {})}[measure].value
    assert found is not None
    return found


def test_who_knows_what_is_hard_recovers_more_than_chance_and_less_than_the_oracle() -> None:
    told = card(HARD)
    for name in ("apgr", "apgr_per_dollar"):
        assert value(told, RANDOM, name) == pytest.approx(0.5)
        assert 0.6 < value(told, DIFFICULTY, name) < value(told, ORACLE, name)
    assert value(told, DIFFICULTY, "cpt50") < 0.35 < 0.5 <= value(told, RANDOM, "cpt50")
    assert told.lead.above_zero and told.lead_over_length.above_zero


def test_long_asks_are_dear_so_length_is_worth_less_per_dollar_than_per_call() -> None:
    told = card(HARD)
    assert value(told, LENGTH, "apgr_per_dollar") < value(told, LENGTH, "apgr") - 0.1


@pytest.mark.parametrize("above", [None, 0.5], ids=["by its curve", "by its choices"])
def test_who_knows_nothing_is_not_shown_to_be_better_than_chance(above: float | None) -> None:
    assert not card(BLIND, above).lead.above_zero


def test_choices_are_measured_against_their_own_shuffle_at_the_same_cost() -> None:
    told = card(HARD, above=0.5)
    assert value(told, SHUFFLE, "cost") == pytest.approx(value(told, "router auto", "cost"))
    ahead = value(told, "router auto", "quality") - value(told, SHUFFLE, "quality")
    assert told.lead.value == pytest.approx(ahead) and told.lead.above_zero
    assert value(told, "always small", "recovered") == 0.0 and value(told, "always large", "recovered") == 1.0
    assert value(told, ORACLE, "quality") >= value(told, "always large", "quality")


def test_ways_along_the_dial_are_one_policy() -> None:
    sure = {"router auto": ["small"] * ROWS}
    ways = {
        f"{DIAL} {place}": ["large" if one > place / 10 else "small" for one in HARD] for place in range(11)
    }
    told = measure(FIELD, HARD, {**sure, **ways}, times=20, chance=Random(1).random)
    assert told.curves[DIAL]["apgr"].value is None
    assert value(told, DIAL, "apgr_per_dollar") == pytest.approx(
        value(told, DIFFICULTY, "apgr_per_dollar"), abs=0.05
    )
    assert len(told.traced[DIAL]) == 11 and "router dial" in plot.svg(told)
    assert told.lead.value == pytest.approx(0.0), "it is the way asked for that decides"


def test_the_same_seed_tells_the_same() -> None:
    assert card(HARD, 0.5) == card(HARD, 0.5)


def test_a_strong_model_that_is_no_better_leaves_nothing_to_recover() -> None:
    swapped = Field(FIELD.quality, FIELD.cost, FIELD.lengths, weak="large", strong="small")
    told = measure(swapped, HARD, {}, times=5, chance=Random(1).random)
    assert told.curves[DIFFICULTY]["apgr"].value is None and not told.lead.above_zero
    assert "  -" in "\n".join(text.outcomes(told)) and plot.svg(told)


def test_the_text_says_each_policy_and_the_verdict() -> None:
    lines = list(text.outcomes(card(HARD, 0.5)))
    assert lines[0] == "400 asks, from small (weak) to large (strong); 95 % intervals"
    said = {line.split("  ")[0] for line in lines}
    assert {DIFFICULTY, LENGTH, RANDOM, ORACLE, "router auto", SHUFFLE, "always small"} <= said
    assert lines[-1].endswith(": better than chance")
    assert list(text.outcomes(card(BLIND)))[-1].endswith(": NOT shown to be better than chance")


def test_the_picture_is_well_formed_and_shows_every_curve_and_point_within_its_frame() -> None:
    drawn = ElementTree.fromstring(plot.svg(card(HARD, 0.5)))
    names = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"by difficulty", "by prompt length", "random", "oracle"} <= names
    assert {"1", "2", "3", "4", "5"} <= names and any(
        name and name.startswith("router auto") for name in names
    )
    dots = list(drawn.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(dots) == 5
    for dot in dots:
        assert plot.LEFT <= float(dot.attrib["cx"]) <= plot.WIDTH - plot.RIGHT
        assert plot.TOP <= float(dot.attrib["cy"]) <= plot.HEIGHT - plot.BOTTOM


def test_every_curve_is_drawn_from_the_weak_model_to_the_strong_one() -> None:
    told = card(HARD)
    drawn = ElementTree.fromstring(plot.svg(told))
    dots = {(dot.attrib["cx"], dot.attrib["cy"]) for dot in drawn.iter("{http://www.w3.org/2000/svg}circle")}
    lines = [
        line for line in drawn.iter("{http://www.w3.org/2000/svg}polyline") if "curve" in line.attrib["class"]
    ]
    long = [
        line.attrib["points"].split() for line in lines if float(line.attrib["points"].split(",")[0]) < 500
    ]
    assert len(long) == len(told.traced)
    for points in long:
        assert {tuple(points[0].split(",")), tuple(points[-1].split(","))} <= dots


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.51, 0.64, [0.55, 0.6]),
        (0.003, 0.0205, [0.005, 0.01, 0.015, 0.02]),
        (0.0, 3000.0, [0.0, 1000.0, 2000.0, 3000.0]),
    ],
)
def test_the_axes_have_round_numbers(low: float, high: float, found: list[float]) -> None:
    assert plot.ticks(low, high) == found


@pytest.mark.parametrize(
    ("right_on", "better"),
    [(range(5), True), (range(1), False)],
    ids=["in every kind", "in one of five"],
)
def test_a_lead_that_one_kind_alone_makes_is_not_shown_to_hold_for_others(
    right_on: range, better: bool
) -> None:
    """The router knows what is hard of asks of some kinds, and guesses the others."""
    groups = [f"kind {row % 5}" for row in range(ROWS)]
    known = [HARD[row] if row % 5 in right_on else BLIND[row] for row in range(ROWS)]
    choices = {"router auto": ["large" if one > 0.5 else "small" for one in known]}
    told = measure(FIELD, HARD, choices, times=200, chance=Random(1).random, groups=groups)
    assert told.lead_by_kind is not None and told.lead_by_kind.value == told.lead.value
    assert told.better is better is told.lead_by_kind.above_zero
    lines = list(text.outcomes(told))
    assert "drawn by whole kinds, which decides as well: " in lines[-2]
    assert lines[-1].endswith(": better than chance" if better else ": NOT shown to be better than chance")


def test_the_lead_of_the_curve_is_drawn_by_whole_kinds_too() -> None:
    groups = [f"kind {row % 5}" for row in range(ROWS)]
    told = measure(FIELD, HARD, {}, times=60, chance=Random(1).random, groups=groups)
    assert told.lead_by_kind is not None and told.lead_by_kind.above_zero and told.better
