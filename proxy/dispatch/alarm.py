"""Limits on how long a task may wait, kept by one coarse ticker for all of them.

    with alarms.limit(seconds):       up to TICK late: cancels the task; the cancel becomes a TimeoutError
        await whatever

As `asyncio.timeout`, which makes a timer of the event loop each time, to cancel it again nearly always; that
was a twentieth of a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from msgspec import Struct

from proxy.standstill import Tick

TICK = 0.05
"""Seconds between two looks at the clock."""


class Alarms:
    """All limits of one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._set: set[Alarm] = set()
        self._ticking = False
        self._due = Tick()

    def limit(self, seconds: float, task: asyncio.Task[object] | None = None) -> Alarm:
        """For `with`: TimeoutError after so many seconds. `task` is the current one, for who knows it."""
        task = task or asyncio.current_task()
        assert task is not None
        now = self._clock()
        if not self._ticking:
            self._ticking = True
            self._due.due_in(TICK)
            task.get_loop().call_later(TICK, self._tick)
        return Alarm(self._set, task, now + seconds, task.cancelling())

    def _tick(self) -> None:
        now = self._clock()
        if lost := self._due.lost():
            for alarm in self._set:
                alarm.until += lost
        for alarm in [alarm for alarm in self._set if alarm.until <= now]:
            self._set.remove(alarm)
            alarm.ring()
        self._ticking = bool(self._set)
        if self._ticking:
            self._due.due_in(TICK)
            asyncio.get_running_loop().call_later(TICK, self._tick)


class Alarm(Struct, eq=False):
    """One limit on one task: it is among those that are looked at while its `with` lasts."""

    among: set[Alarm]
    task: asyncio.Task[object]
    until: float
    cancelling: int
    """Of the task, when this began."""
    rang: bool = False

    def ring(self) -> None:
        """The time is up."""
        self.rang = True
        self.task.cancel()

    def put_off(self, until: float) -> None:
        """The wait may last until then, if that is later."""
        self.until = max(self.until, until)

    def __enter__(self) -> Alarm:
        self.among.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.among.discard(self)
        # Somebody else may have cancelled the task as well: then it stays cancelled.
        if self.rang and self.task.uncancel() <= self.cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
