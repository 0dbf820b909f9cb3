"""How long to wait before asking again, and whether all calls together may."""

from __future__ import annotations

from collections.abc import Callable

from proxy.dispatch.policy import RetryPolicy
from proxy.dispatch.window import Window


def delay(
    attempt: int, policy: RetryPolicy, random: Callable[[], float], retry_after: float | None = None
) -> float:
    """Seconds to wait before retry number `attempt` (from 1): full jitter, a random part of a doubling time.

    With the upstream's `retry_after` it is that long and a random bit more, so that callers who were told
    the same don't come back as one.
    """
    if retry_after is not None:
        latest = max(policy.max_delay, retry_after)
        return min(retry_after + random() * policy.base_delay, latest)
    return random() * min(policy.base_delay * 2.0 ** min(attempt - 1, 30), policy.max_delay)


class RetryBudget:
    """What the whole process may spend on trying again: a share of the recent requests, and a floor.

    Without it, upstreams that fail under load get more load for failing.
    """

    __slots__ = ("_clock", "_floor", "_ratio", "_requests", "_retries")

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ratio = policy.budget_ratio
        self._floor = policy.budget_floor * policy.budget_window
        self._requests = Window(policy.budget_window)
        self._retries = Window(policy.budget_window)

    def deposit(self) -> None:
        """A request came."""
        self._requests.add(self._clock())

    def withdraw(self) -> bool:
        """Whether one more retry may be made; takes it."""
        now = self._clock()
        if self._retries.count(now) + 1 > self._floor + self._ratio * self._requests.count(now):
            return False
        self._retries.add(now)
        return True

    def left(self) -> float:
        """Retries that could be made now."""
        now = self._clock()
        return self._floor + self._ratio * self._requests.peek(now) - self._retries.peek(now)
