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


def retry_budget(policy: RetryPolicy, clock: Callable[[], float]) -> Budget:
    """For trying again. Without it, upstreams that fail under load get more load for failing."""
    return Budget(policy.budget_ratio, policy.budget_floor, policy.budget_window, clock)


class Budget:
    """What the whole process may spend beside its requests: a share of the recent ones, and a floor."""

    __slots__ = ("_clock", "_floor", "_ratio", "_requests", "_spent")

    def __init__(self, ratio: float, floor: float, window: float, clock: Callable[[], float]) -> None:
        """`floor` is so many a second, `window` the seconds that are recent."""
        self._clock = clock
        self._ratio = ratio
        self._floor = floor * window
        self._requests = Window(window)
        self._spent = Window(window)

    def deposit(self) -> None:
        """A request came."""
        self._requests.add(self._clock())

    def withdraw(self) -> bool:
        """Whether one more may be made; takes it."""
        now = self._clock()
        if self._spent.count(now) + 1 > self._floor + self._ratio * self._requests.count(now):
            return False
        self._spent.add(now)
        return True

    def left(self) -> float:
        """How many could be made now."""
        now = self._clock()
        return self._floor + self._ratio * self._requests.peek(now) - self._spent.peek(now)
