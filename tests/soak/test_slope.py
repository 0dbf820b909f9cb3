"""The arithmetic on which the verdict about memory rests."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from tests.soak.slope import binned, slope


def test_a_straight_line_is_its_own_slope_without_doubt() -> None:
    found = slope([(float(x), 2.0 + 0.5 * x) for x in range(20)])
    assert found.slope == pytest.approx(0.5)
    assert found.error == pytest.approx(0.0, abs=1e-12)


def test_a_jump_of_a_few_samples_does_not_move_it() -> None:
    points = [(float(x), 0.1 * x + (50.0 if x in (3, 11) else 0.0)) for x in range(20)]
    assert slope(points).slope == pytest.approx(0.1, abs=0.02)


def test_the_error_covers_the_noise() -> None:
    random = Random(1)
    misses = 0
    for _ in range(100):
        found = slope([(float(x), 0.3 * x + random.gauss(0, 2)) for x in range(60)])
        misses += abs(found.slope - 0.3) > 2 * found.error
    assert misses < 15


def test_samples_that_resemble_the_one_before_tell_less() -> None:
    random, noise, walk = Random(2), [], 0.0
    for _ in range(60):
        walk = 0.95 * walk + random.gauss(0, 1)
        noise.append(walk)
    shuffled = random.sample(noise, len(noise))
    assert slope(list(enumerate(noise))).error > 2 * slope(list(enumerate(shuffled))).error


def test_of_two_samples_nothing_is_known() -> None:
    assert slope([(0.0, 1.0), (1.0, 2.0)]).error == inf


def test_a_bin_is_the_median_of_what_is_in_it() -> None:
    assert binned([(0.0, 1.0), (1.0, 9.0), (2.0, 2.0), (10.0, 4.0)], 10) == [(1.0, 2.0), (10.0, 4.0)]
