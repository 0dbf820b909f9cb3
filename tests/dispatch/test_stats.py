"""Observations: means that fade, failures that look slow, quantiles."""

from __future__ import annotations

import pytest

from proxy.dispatch.policy import StatsPolicy
from proxy.dispatch.stats import Observed, Stats


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stats(clock: Clock) -> Stats:
    return Stats(StatsPolicy(half_life=60.0, penalty_ttft=10.0), clock)


def test_nothing_seen_is_full_success_on_no_evidence(stats: Stats) -> None:
    assert stats.view("m") == Observed(1.0, None, None, 0.0, None)
    assert stats.p95("m") is None
    assert stats.snapshot() == {}


def test_means(stats: Stats) -> None:
    stats.observe("m", True, 0.2, 100.0)
    stats.observe("m", True, 0.4, 50.0)
    stats.observe("m", True, None, None)
    seen = stats.view("m")
    assert (seen.success, seen.ttft, seen.speed, seen.evidence) == pytest.approx((1.0, 0.3, 75.0, 3.0))


def test_an_old_observation_counts_half_after_a_half_life(stats: Stats, clock: Clock) -> None:
    stats.observe("m", False, None, None)
    clock.now += 60
    stats.observe("m", True, 1.0, None)
    seen = stats.view("m")
    assert seen.success == pytest.approx(2 / 3)
    assert seen.evidence == pytest.approx(1.5)
    assert seen.ttft == pytest.approx((1.0 + 10.0 / 2) / 1.5)
    clock.now += 600
    assert stats.view("m").evidence == pytest.approx(1.5 / 1024)


@pytest.mark.parametrize(
    ("ttft", "expected"),
    [
        pytest.param(None, 10.0, id="a failure without a time"),
        pytest.param(0.01, 10.0, id="a fast 429"),
        pytest.param(30.0, 30.0, id="a timeout longer than the penalty"),
    ],
)
def test_a_failure_never_looks_fast(stats: Stats, ttft: float | None, expected: float) -> None:
    stats.observe("m", False, ttft, None)
    assert stats.view("m").ttft == pytest.approx(expected)
    assert stats.p95("m") is None


def test_the_p95_is_within_a_bucket_of_the_truth(stats: Stats) -> None:
    for n in range(1, 1001):
        stats.observe("m", True, n / 500, None)
    p95 = stats.p95("m")
    assert p95 is not None
    assert 1.9 <= p95 <= 1.9 * 1.2
    assert stats.snapshot()["m"].p95 == p95


@pytest.mark.parametrize("ttft", [0.0, -1.0, 1e-9, 1e9])
def test_odd_times_fall_into_the_outer_buckets(stats: Stats, ttft: float) -> None:
    stats.observe("m", True, ttft, None)
    assert stats.p95("m") is not None


def test_a_week_of_idling_neither_overflows_nor_confuses(stats: Stats, clock: Clock) -> None:
    stats.observe("m", False, None, None)
    clock.now += 7 * 86400
    assert stats.view("m").evidence == pytest.approx(0.0)
    stats.observe("other", True, 0.5, None)
    assert stats.view("m").evidence == pytest.approx(0.0)
    stats.observe("m", True, 0.5, 20.0)
    seen = stats.view("m")
    assert (seen.success, seen.ttft, seen.speed, seen.evidence) == pytest.approx((1.0, 0.5, 20.0, 1.0))


def test_days_of_traffic_stay_exact(stats: Stats, clock: Clock) -> None:
    for n in range(10_000):
        clock.now += 30
        stats.observe("m", n % 4 != 0, 0.5, None)
    assert stats.view("m").success == pytest.approx(0.75, abs=0.15)
    assert stats.view("m").evidence == pytest.approx(1 / (1 - 0.5**0.5), rel=0.01)


def test_retain_forgets_the_others(stats: Stats) -> None:
    stats.observe("a", True, 0.1, None)
    stats.observe("b", True, 0.1, None)
    stats.retain(["b"])
    assert list(stats.snapshot()) == ["b"]
