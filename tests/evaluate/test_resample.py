"""Intervals are the same for the same seed, and hold what they say."""

from __future__ import annotations

from random import Random

import pytest

from proxy.evaluate.resample import Estimate, clustered, draws, estimate, evenly, quantile


def test_the_same_seed_draws_the_same_rows_and_another_one_others() -> None:
    assert list(draws(50, 3, Random(7).random)) == list(draws(50, 3, Random(7).random))
    assert list(draws(50, 3, Random(7).random)) != list(draws(50, 3, Random(8).random))


def test_a_sample_is_as_long_as_the_rows_and_repeats_some() -> None:
    (drawn,) = draws(200, 1, Random(0).random)
    assert len(drawn) == 200 and 100 < len(set(drawn)) < 150  # 1 - 1/e of them, 126


@pytest.mark.parametrize(
    ("share", "value"),
    [(0.0, 1.0), (0.5, 2.5), (0.25, 1.75), (1.0, 4.0)],
    ids=["least", "middle", "between", "most"],
)
def test_a_quantile_lies_between_the_two_nearest_values(share: float, value: float) -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], share) == value


def test_samples_in_which_a_measure_meant_nothing_do_not_count() -> None:
    assert estimate(2.0, [None, 1.0, 3.0]) == Estimate(
        2.0, quantile([1.0, 3.0], 0.025), quantile([1.0, 3.0], 0.975)
    )
    assert estimate(2.0, [None]) == Estimate(2.0)
    assert estimate(None, [1.0]) == Estimate(None)


@pytest.mark.parametrize(
    ("one", "above"),
    [(Estimate(1.0, 0.5, 2.0), True), (Estimate(1.0, -0.1, 2.0), False), (Estimate(0.0, 0.0, 0.0), False),
     (Estimate(1.0), False)],
    ids=["whole interval above", "holds zero", "never anything else", "no interval"],
)  # fmt: skip
def test_only_a_whole_interval_is_above_zero(one: Estimate, above: bool) -> None:
    assert one.above_zero is above


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    chance, held = Random(3), 0
    for _ in range(200):
        rows = [chance.gauss(5.0, 1.0) for _ in range(60)]
        means = [sum(rows[row] for row in drawn) / 60 for drawn in draws(60, 120, chance.random)]
        told = estimate(sum(rows) / 60, means)
        assert told.low is not None and told.high is not None
        held += told.low <= 5.0 <= told.high
    assert 0.90 <= held / 200 <= 0.98


@pytest.mark.parametrize(
    ("told", "even"),
    [
        (Estimate(1.0, 0.5, 3.0), Estimate(1.0, -1.0, 3.0)),
        (Estimate(1.0, -1.0, 1.5), Estimate(1.0, -1.0, 3.0)),
        (Estimate(1.0), Estimate(1.0)),
    ],
    ids=["skewed up", "skewed down", "no interval"],
)
def test_the_wider_side_counts_on_both(told: Estimate, even: Estimate) -> None:
    assert evenly(told) == even


def test_clusters_are_drawn_whole() -> None:
    clusters = [place // 3 for place in range(30)]
    for drawn in clustered(clusters, 20, Random(1).random):
        assert len(drawn) == 30
        held = [clusters[row] for row in drawn]
        assert all(held[place] == held[place + 1] == held[place + 2] for place in range(0, 30, 3))
    alone = list(clustered(range(30), 5, Random(2).random))
    assert alone == list(draws(30, 5, Random(2).random)), "rows of their own are drawn as rows are"
