"""Weights are proposed from some asks and judged on others: what is better is found, noise is not."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from proxy.evaluate import text
from proxy.evaluate.tune import LEAST_CHANGED, LEAST_GROUPS, Ask, Trial, compare, halves, search, worth

OLD = {"quality": 2.0, "success": 0.5, "latency": 0.25, "cost": 1.0}
ASKS = 200
ALIKE = {"small": 0.1, "large": 0.1}


def chosen(ask: Ask, weights: dict[str, float]) -> str:
    def total(model: str) -> float:
        sign = {"cost": -1.0}
        return sum(sign.get(term, 1.0) * weights[term] * value for term, value in ask.terms[model].items())

    return max(ask.terms, key=total)


def ask(expected: dict[str, float], quality: dict[str, float], paid: dict[str, float] | None = None) -> Ask:
    """`small` is nearly free; `large` is expected to be dear."""
    cost = {"small": 0.01, "large": 0.3}
    terms = {
        model: {"quality": expected[model], "success": 1.0, "latency": 0.5, "cost": cost[model]}
        for model in cost
    }
    made = Ask(terms, quality, {"small": 1e-5, "large": 1e-3}, paid or cost, "", True)
    return Ask(made.terms, made.quality, made.cost, made.paid, chosen(made, OLD), True)


def asks(chance: Random, small: float, large: float, paid: dict[str, float] | None = None) -> list[Ask]:
    """The large model is expected to be better by 0 to 0.5; `small` and `large`: how often each is right."""
    found = []
    for _ in range(ASKS):
        expected = {"small": 0.5, "large": 0.5 + chance.random() / 2}
        quality = {"small": float(chance.random() < small), "large": float(chance.random() < large)}
        found.append(ask(expected, quality, paid))
    return found


def trial(rows: list[Ask], seed: int = 1, times: int = 200) -> Trial:
    seek, judge = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    found = search(seek, OLD, OLD)
    choices = [chosen(one, found) for one in judge]
    return compare("balanced", len(seek), judge, (OLD, found, OLD), choices, times, Random(seed).random)


def test_a_model_that_is_not_worth_its_price_is_asked_less() -> None:
    card = trial(asks(Random(3), 0.8, 0.5))
    assert card.better and card.gain.above_zero
    assert card.new.weights["cost"] > OLD["cost"] and card.new.weights["quality"] == OLD["quality"]
    assert card.cost.value is not None and card.cost.value < 0.0


def test_a_model_that_is_worth_more_than_expected_is_asked_more() -> None:
    card = trial(asks(Random(3), 0.2, 0.9))
    assert card.better and card.new.weights["cost"] < OLD["cost"]
    assert card.cost.value is not None and card.cost.value > 0.0


def test_noise_is_taken_for_better_in_no_more_than_one_of_twenty() -> None:
    """Whichever model answers is worth the same: no weights are better, and what the search finds is luck."""
    found = [trial(asks(Random(seed), 0.5, 0.5, ALIKE), seed) for seed in range(100)]
    assert sum(card.new.weights != OLD for card in found) > 20, "the search would take luck for a gain"
    assert sum(card.better for card in found) <= 5


def test_money_keeps_its_price_whatever_the_weights_have_become() -> None:
    """Else weights that ask for less would be judged by whoever asks for less."""
    one = ask({"small": 0.5, "large": 0.9}, {"small": 0.0, "large": 1.0})
    frugal = {**OLD, "cost": 8.0}
    assert worth(one, "large", OLD) == 1.0 + (0.5 * 1.0 + 0.25 * 0.5 - 0.3) / 2.0
    assert worth(one, "large", frugal) < worth(one, "small", frugal) < worth(one, "large", OLD)
    rows = asks(Random(5), 0.2, 0.9)
    judged = compare(
        "p", 1, rows, (frugal, OLD, OLD), [chosen(row, OLD) for row in rows], 50, Random(1).random
    )
    assert judged.price == OLD


def test_speed_is_not_given_away_because_no_outcome_tells_of_it() -> None:
    slow = [ask({"small": 0.5, "large": 0.5}, {"small": 0.5, "large": 0.5}) for _ in range(ASKS)]
    for one in slow:
        assert worth(one, "small", OLD) - worth(one, "large", OLD) < 0.3
    assert search(slow, OLD, OLD) == OLD


def test_the_former_weights_stay_where_nothing_is_decided_by_scores() -> None:
    rows = asks(Random(3), 0.2, 0.9)
    ruled = [Ask(one.terms, one.quality, one.cost, one.paid, "small", False) for one in rows]
    odd = {**OLD, "cost": 1.23456}
    assert search(ruled, odd, odd) == odd


def test_few_changes_show_nothing() -> None:
    rows = asks(Random(3), 0.2, 0.9)
    choices = [one.choice for one in rows]
    better = [place for place, one in enumerate(rows) if one.choice == "small" and one.quality["large"]]
    for place in better[: LEAST_CHANGED - 1]:
        choices[place] = "large"
    card = compare("p", 1, rows, (OLD, {**OLD, "cost": 0.5}, OLD), choices, 200, Random(1).random)
    assert card.gain.above_zero and not card.better and "are needed" in card.why


def test_who_wants_to_be_surer_gets_wider_intervals() -> None:
    rows = asks(Random(3), 0.8, 0.5)
    usual, sure = (
        compare(
            "p",
            1,
            rows,
            (OLD, {**OLD, "cost": 8.0}, OLD),
            ["small"] * ASKS,
            400,
            Random(1).random,
            level=level,
        )
        for level in (0.95, 0.99)
    )
    assert usual.gain.low is not None and sure.gain.low is not None
    assert sure.gain.low < usual.gain.low and sure.level == 0.99
    assert "; 99 % intervals" in next(iter(text.trial(sure, written=False)))


def test_without_resamples_nothing_is_shown() -> None:
    card = trial(asks(Random(3), 0.2, 0.9), times=0)
    assert not card.better and card.why == "without resamples nothing is shown"


def test_halves_share_no_group_where_there_are_some() -> None:
    groups = [f"kind {row % 6}" for row in range(120)]
    seek, judge = halves(groups, [b""] * 120, seed=1)
    assert len(seek) == 60 and sorted([*seek, *judge]) == list(range(120))
    assert not {groups[row] for row in seek} & {groups[row] for row in judge}
    assert halves(groups, [b""] * 120, seed=1) == (seek, judge)


def test_the_same_ask_never_stands_in_both_halves() -> None:
    keys = [f"ask {row % 100}".encode() for row in range(200)]
    for groups in (["?"] * 200, [str(row % (LEAST_GROUPS - 1)) for row in range(200)]):
        seek, judge = halves(groups, keys, seed=1)
        assert not {keys[row] for row in seek} & {keys[row] for row in judge}
        assert 60 < len(seek) < 140


def test_a_gain_that_one_kind_alone_makes_is_not_shown_to_hold_for_others() -> None:
    """By rows it is: of more such asks in such shares. By kinds it isn't, and that decides."""
    twice = asks(Random(3), 0.2, 0.9) * 2
    rows = [replace(one, group=f"kind {place % 5}") for place, one in enumerate(twice)]
    choices = [
        "large" if one.group == "kind 0" and one.quality["large"] > one.quality["small"] else one.choice
        for one in rows
    ]
    weights = (OLD, {**OLD, "cost": 0.5}, OLD)
    card = compare("p", 1, rows, weights, choices, 200, Random(1).random)
    assert card.gain_by_kind is not None and card.gain_by_kind.low is not None
    assert card.gain.above_zero and not card.gain_by_kind.above_zero
    assert not card.better and "by whole kinds, which decides" in card.why


def test_a_gain_of_every_kind_is_shown_by_whole_kinds_too() -> None:
    rows = [replace(one, group=f"kind {place % 5}") for place, one in enumerate(asks(Random(3), 0.8, 0.5))]
    card = compare("p", 1, rows, (OLD, {**OLD, "cost": 8.0}, OLD), ["small"] * ASKS, 200, Random(1).random)
    assert card.better and card.gain_by_kind is not None and card.gain_by_kind.above_zero


def test_where_units_are_drawn_there_are_no_kinds() -> None:
    rows = [replace(one, group=f"kind {place % 5}") for place, one in enumerate(asks(Random(3), 0.8, 0.5))]
    alone, paired = (
        compare(
            "p", 1, rows, (OLD, {**OLD, "cost": 8.0}, OLD), ["small"] * ASKS, 200, Random(1).random,
            units=[str(place // size) for place in range(ASKS)],
        )
        for size in (1, 50)
    )  # fmt: skip
    assert alone.gain_by_kind is None and alone.gain.value == pytest.approx(paired.gain.value)
    assert alone.gain != paired.gain
