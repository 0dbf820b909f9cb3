"""APGR and CPT, per call and per dollar, beside a reference that counts them the slow way."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from proxy.evaluate.curve import Pair, area, hull, least, levels, trace

FOUR = Pair(gain=[1.0, 0.0, 1.0, 0.0], extra=[1.0, 1.0, 3.0, 5.0])
"""The strong model is better at the first and the third ask, and dear at the last two."""

ALL = range(4)


def test_the_highest_score_is_the_first_level_and_equal_ones_share_it() -> None:
    assert levels([0.2, 0.9, 0.2, 0.5]) == [2, 0, 2, 1]


# Worked by hand: shares of calls 0, 1/4, 2/4, 3/4, 1; of dollars by 10; recovered by 2.
@pytest.mark.parametrize(
    ("scores", "apgr", "per_dollar", "cpt50", "dollars80"),
    [
        ([4, 2, 3, 1], (0.25 + 0.75 + 1 + 1) / 4, 0.1 * 0.25 + 0.3 * 0.75 + 0.1 + 0.5, 0.25, 0.1 + 0.3 * 0.6),
        ([1, 4, 2, 3], (0 + 0 + 0.25 + 0.75) / 4, 0.3 * 0.25 + 0.1 * 0.75, 0.75, 0.9 + 0.1 * 0.6),
        ([0, 0, 0, 0], 0.5, 0.5, 0.5, 0.8),
        ([1, 0, 0, 1], (0.25 + 0.75) / 2, 0.6 * 0.25 + 0.4 * 0.75, 0.5, 0.6 + 0.4 * 0.6),
    ],
    ids=["who needs it comes first", "who needs it comes last", "all alike is chance", "two and two alike"],
)
def test_measures_of_four_asks(
    scores: list[float], apgr: float, per_dollar: float, cpt50: float, dollars80: float
) -> None:
    curve = trace(FOUR, levels(scores), ALL)
    assert area(curve.calls, curve.recovered) == pytest.approx(apgr)
    assert area(curve.dollars, curve.recovered) == pytest.approx(per_dollar)
    assert least(curve.calls, curve.recovered, 0.5) == pytest.approx(cpt50)
    assert least(curve.dollars, curve.recovered, 0.8) == pytest.approx(dollars80)


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    curve = trace(Pair(gain=[0.0, 0.5, -0.5], extra=[1.0, 1.0, 1.0]), [0, 1, 2], range(3))
    assert area(curve.calls, curve.recovered) is None and least(curve.calls, curve.recovered, 0.5) is None


def test_without_extra_cost_nothing_is_told_per_dollar() -> None:
    curve = trace(Pair(gain=[1.0, 0.0], extra=[0.0, 0.0]), [0, 1], range(2))
    assert area(curve.calls, curve.recovered) == 0.75 and area(curve.dollars, curve.recovered) is None


def test_a_sample_counts_a_row_as_often_as_it_was_drawn() -> None:
    drawn = [2, 0, 0, 3, 3, 3]
    copied = Pair([FOUR.gain[row] for row in drawn], [FOUR.extra[row] for row in drawn])
    scores = [4.0, 2.0, 3.0, 1.0]
    one = trace(FOUR, levels(scores), drawn)
    other = trace(copied, levels([scores[row] for row in drawn]), range(6))
    assert one == other


def reference(pair: Pair, scores: list[float], cost: list[float]) -> float:
    """The area, by taking every threshold in turn."""
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores), reverse=True):
        above = [row for row, score in enumerate(scores) if score >= threshold]
        points.append((sum(cost[row] for row in above), sum(pair.gain[row] for row in above)))
    width, height = points[-1]
    whole = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))
    return whole / width / height


@pytest.mark.parametrize("seed", range(8))
def test_any_outcomes_are_measured_as_the_reference_does(seed: int) -> None:
    chance = Random(seed)
    rows = range(chance.randint(5, 60))
    scores = [round(chance.random(), 1) for _ in rows]
    pair = Pair([chance.choice([-0.5, 0.0, 1.0, 1.0]) for _ in rows], [chance.random() for _ in rows])
    if sum(pair.gain) <= 0:
        pair = Pair([abs(gain) or 1.0 for gain in pair.gain], pair.extra)
    curve = trace(pair, levels(scores), rows)
    assert area(curve.calls, curve.recovered) == pytest.approx(reference(pair, scores, [1.0] * len(rows)))
    assert area(curve.dollars, curve.recovered) == pytest.approx(reference(pair, scores, pair.extra))


@pytest.mark.parametrize(
    ("points", "dollars", "recovered"),
    [
        ([(0.5, 0.7)], [0.0, 0.5, 1.0], [0.0, 0.7, 1.0]),
        ([(0.5, 0.3)], [0.0, 1.0], [0.0, 1.0]),
        ([(0.2, 1.4), (0.6, 1.2)], [0.0, 0.2, 1.0], [0.0, 1.4, 1.4]),
        ([(0.0, 0.4), (1.3, 2.0)], [0.0, 0.0, 1.0], [0.0, 0.4, 1.0]),
        ([(0.2, 0.3), (0.4, 0.9), (0.7, 0.98)], [0.0, 0.4, 0.7, 1.0], [0.0, 0.9, 0.98, 1.0]),
    ],
    ids=[
         "above chance", "below chance, which can always be had", "better than the strong model and cheaper",
         "as cheap as the weak one; dearer than the strong one doesn't count", "only corners are kept"],
)  # fmt: skip
def test_policies_that_are_mixed_have_their_hull(
    points: list[tuple[float, float]], dollars: list[float], recovered: list[float]
) -> None:
    curve = hull(points)
    assert (curve.calls, curve.dollars) == (None, dollars)
    assert curve.recovered == pytest.approx(recovered)
    assert area(curve.calls, curve.recovered) is None


def test_where_no_policy_has_a_place_there_is_no_hull() -> None:
    assert hull([(None, 0.3), (0.2, None)]).dollars is None
