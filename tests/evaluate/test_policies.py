"""Who else might choose, and what chance makes of the router's own shares at the same cost."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest

from proxy.evaluate.policies import Point, arena, chance, chosen, oracle, shuffle

QUALITY = {"small": [1.0, 0.0, 0.0], "large": [1.0, 1.0, 0.0]}
COST = {"small": [1.0, 1.0, 1.0], "large": [2.0, 4.0, 6.0]}


def test_the_oracle_takes_the_best_answer_and_of_equal_ones_the_cheapest() -> None:
    assert oracle(QUALITY, COST) == ["small", "large", "small"]


def test_chance_has_every_models_mean() -> None:
    assert chance(QUALITY, COST) == ([1.0, 0.5, 0.0], [1.5, 2.5, 3.5])


def test_choices_have_what_was_chosen() -> None:
    assert chosen(QUALITY, COST, ["small", "large", "small"]) == ([1.0, 1.0, 0.0], [1.0, 4.0, 1.0])


def test_where_asks_cost_alike_the_shuffle_is_the_mean_of_all_orders_of_the_choices() -> None:
    cost = {"small": [1.0] * 4, "middle": [2.0] * 4, "large": [5.0] * 4}
    quality = {"small": [1.0, 0.0, 0.0, 0.2], "middle": [1.0, 1.0, 0.0, 0.4], "large": [1.0, 1.0, 0.5, 1.0]}
    choices = ["small", "large", "small", "middle"]
    orders = [chosen(quality, cost, list(order)) for order in permutations(choices)]
    mean = sum(sum(found) for found, _ in orders) / len(orders) / 4
    dealt = shuffle(quality, cost, choices, range(4), spent=9 / 4)
    assert (dealt.quality, dealt.cost) == (pytest.approx(mean), pytest.approx(9 / 4))


def test_a_router_that_gives_the_dear_model_short_asks_is_compared_with_chance_that_spends_as_little() -> (
    None
):
    # It asks the large model once, where that costs 2; by chance that would cost 4.
    spent = (2.0 + 1.0 + 1.0) / 3
    dealt = shuffle(QUALITY, COST, ["large", "small", "small"], range(3), spent)
    large = (spent - 1.0) / (4.0 - 1.0)
    assert dealt.cost == pytest.approx(spent)
    assert dealt.quality == pytest.approx((1 - large) * 1 / 3 + large * 2 / 3)


def test_who_always_chooses_the_same_is_its_own_shuffle() -> None:
    assert shuffle(QUALITY, COST, ["large"] * 3, range(3), 4.0) == Point(2 / 3, 4.0)


def test_random_choices_gain_nothing_over_their_shuffle() -> None:
    deal = Random(5)
    rows = 4_000
    quality = {
        name: [deal.random() ** power for _ in range(rows)] for name, power in (("a", 3), ("b", 1), ("c", 2))
    }
    cost = {
        name: [deal.random() * price for _ in range(rows)] for name, price in (("a", 1), ("b", 9), ("c", 3))
    }
    choices = [deal.choice("abc") for _ in range(rows)]
    found, spent = chosen(quality, cost, choices)
    dealt = shuffle(quality, cost, choices, range(rows), sum(spent) / rows)
    assert sum(found) / rows == pytest.approx(dealt.quality, abs=0.01)


# RouterArena's formula with beta 0.1, worked by hand at the ends and in the middle of the logarithm.
@pytest.mark.parametrize(
    ("point", "score"),
    [
        (Point(0.8, 0.0044 / 1000), 1.1 * 0.8 / (0.08 + 1.0)),
        (Point(0.8, (0.0044 * 200) ** 0.5 / 1000), 1.1 * 0.8 * 0.5 / (0.08 + 0.5)),
        (Point(0.8, 0.2), 0.0),
        (Point(0.0, 0.001), 0.0),
        (Point(0.8, 0.0), 1.1 * 0.8 / (0.08 + 1.0)),
    ],
    ids=["as cheap as counts", "the geometric middle", "as dear as counts", "nothing right", "free"],
)
def test_the_arena_score(point: Point, score: float) -> None:
    assert arena(point) == pytest.approx(score)
