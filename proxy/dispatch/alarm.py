"""Limits on how long a task may await, kept by one coarse ticker for all of them.

    alarm = alarms.set(seconds)
    try:     await whatever                        rings up to TICK late: cancels the task
    except CancelledError: alarm.caught() or raise
    finally: alarms.clear(alarm)

`asyncio.timeout` makes a timer of the event loop each time, nearly all of which are cancelled again; that
was a twentieth of a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICK = 0.05
"""Seconds between two looks at the clock."""


class Alarm:
    """One limit on the task that set it."""

    __slots__ = ("_cancelling", "_rang", "task", "until")

    def __init__(self, task: asyncio.Task[object], until: float) -> None:
        self.task = task
        self.until = until
        self._cancelling = task.cancelling()
        self._rang = False

    def ring(self) -> None:
        """The time is up."""
        self._rang = True
        self.task.cancel()

    def caught(self) -> bool:
        """Whether a CancelledError that was just caught is this alarm's alone. Ask once."""
        return self._rang and self.task.uncancel() <= self._cancelling


class Alarms:
    """All limits of one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._set: set[Alarm] = set()
        self._ticking = False

    def set(self, seconds: float) -> Alarm:
        """Cancels the current task after so many seconds, unless it is cleared before."""
        task = asyncio.current_task()
        assert task is not None
        alarm = Alarm(task, self._clock() + seconds)
        self._set.add(alarm)
        if not self._ticking:
            self._ticking = True
            task.get_loop().call_later(TICK, self._tick)
        return alarm

    def clear(self, alarm: Alarm) -> None:
        """The wait is over."""
        self._set.discard(alarm)

    def _tick(self) -> None:
        now = self._clock()
        for alarm in [alarm for alarm in self._set if alarm.until <= now]:
            self._set.remove(alarm)
            alarm.ring()
        self._ticking = bool(self._set)
        if self._ticking:
            asyncio.get_running_loop().call_later(TICK, self._tick)
