"""A second model beside one that is silent for longer than it nearly ever is; the first token wins.

    first  --- its own p95 ---+------------------>  Part | Failure
    second                    +------------------>  Part | Failure

    one commits          it answers; the other is cancelled and counts as lost
    one fails            the other goes on alone
    both fail            the first's failure is what the walk goes on with

Off by default: it spends money for time. Streams alone, for how long a whole reply takes says more of its
length than of its model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from proxy.dispatch.answer import Part
from proxy.dispatch.backoff import Budget
from proxy.dispatch.breaker import Permit
from proxy.dispatch.lane import Lane
from proxy.dispatch.policy import HedgePolicy
from proxy.types import Failure

Outcome = Part | Failure


class Hedges:
    """When a second model may be asked: never before the first is late, and by few of all calls."""

    def __init__(
        self, policy: HedgePolicy, p95: Callable[[str, float], float | None], clock: Callable[[], float]
    ) -> None:
        """`p95`: (model, answers that must have been seen) -> seconds, or None."""
        self._policy = policy
        self._p95 = p95
        self._budget = Budget(policy.share, 0.0, policy.window, clock)

    def deposit(self) -> None:
        """A call came."""
        if self._policy.enabled:
            self._budget.deposit()

    def patience(self, model: str) -> float | None:
        """Seconds of silence after which another model may be asked, too; None: none may."""
        if not self._policy.enabled:
            return None
        late = self._p95(model, self._policy.min_answers)
        return None if late is None else max(late, self._policy.min_delay)

    def withdraw(self) -> bool:
        """Whether one more call may be hedged; counts it."""
        return self._budget.withdraw()


class Racer(Struct, eq=False):
    """One attempt on its way, in a task of its own."""

    lane: Lane
    permit: Permit
    task: asyncio.Task[Outcome]

    @property
    def outcome(self) -> Outcome | None:
        """What came of it; None: it was stopped. Once the race is over."""
        return None if self.task.cancelled() else self.task.result()

    def let_go(self) -> None:
        """Nobody wants what came of it: gives back its upstream. Once the race is over."""
        self.permit.neutral()  # a task that was stopped before its first step settled nothing
        if isinstance(part := self.outcome, Part):
            part.reply.abort()


async def race(racers: list[Racer], patience: float, second: Callable[[], Racer | None]) -> Racer | None:
    """The first of them that commits, or None: all have failed.

    `racers` holds the first. Once `patience` seconds have passed in silence `second` starts another, if it
    may, which is added. Whatever happens, each task is over in the end, and its outcome the caller's.
    """
    try:
        await asyncio.wait([racers[0].task], timeout=patience)
        if not racers[0].task.done() and (other := second()) is not None:
            racers.append(other)
        while True:
            running = []
            for racer in racers:
                if not racer.task.done():
                    running.append(racer.task)
                elif isinstance(racer.outcome, Part):
                    return racer
            if not running:
                return None
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        running = [racer.task for racer in racers if racer.task.cancel()]
        await asyncio.gather(*running, return_exceptions=True)  # until they have let go of their upstreams
