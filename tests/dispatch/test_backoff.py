"""Back-off and the budget that all calls share."""

from __future__ import annotations

import pytest

from proxy.dispatch.backoff import Budget, delay, retry_budget
from proxy.dispatch.policy import RetryPolicy

POLICY = RetryPolicy()


@pytest.mark.parametrize(
    ("attempt", "retry_after", "least", "most"),
    [
        pytest.param(1, None, 0.0, 0.05, id="the first waits up to 50 ms"),
        pytest.param(2, None, 0.0, 0.1, id="the second up to twice that"),
        pytest.param(6, None, 0.0, 1.6, id="the sixth up to 1.6 s"),
        pytest.param(7, None, 0.0, 2.0, id="the seventh up to the cap"),
        pytest.param(10_000, None, 0.0, 2.0, id="the ten thousandth up to the cap, without overflow"),
        pytest.param(1, 1.0, 1.0, 1.05, id="what the upstream asked for, and a little"),
        pytest.param(1, 2.0, 2.0, 2.0, id="never beyond the cap"),
        pytest.param(1, 30.0, 30.0, 30.0, id="never less than asked"),
    ],
)
def test_delay(attempt: int, retry_after: float | None, least: float, most: float) -> None:
    assert delay(attempt, POLICY, lambda: 0.0, retry_after) == pytest.approx(least)
    assert delay(attempt, POLICY, lambda: 1.0, retry_after) == pytest.approx(most)


class Clock:
    now = 500.0

    def __call__(self) -> float:
        return self.now


def spend(budget: Budget) -> int:
    """How many retries there are until it is empty."""
    taken = 0
    while budget.withdraw():
        taken += 1
    return taken


def test_a_quiet_process_may_retry_three_a_second() -> None:
    clock = Clock()
    budget = retry_budget(POLICY, clock)
    assert spend(budget) == 30
    clock.now += 11
    assert spend(budget) == 30


def test_a_fifth_of_the_recent_requests_comes_on_top() -> None:
    clock = Clock()
    budget = retry_budget(POLICY, clock)
    for _ in range(1000):
        budget.deposit()
    assert budget.left() == pytest.approx(230)
    assert spend(budget) == 230
    clock.now += 11
    assert spend(budget) == 30, "requests that aren't recent count no more"


def test_under_steady_load_retries_stay_a_fifth_and_the_floor() -> None:
    clock = Clock()
    budget = retry_budget(POLICY, clock)
    taken = 0
    for _ in range(60 * 100):
        clock.now += 0.01
        budget.deposit()
        taken += budget.withdraw()
    assert taken / 60 == pytest.approx(0.2 * 100 + 3, rel=0.15)
