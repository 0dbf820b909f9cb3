"""Whether this process itself stood still: stopped, swapped out, on a machine that was paused.

    tick .. tick .. tick ................................ tick .. tick
                     |<- late by more than NOTICED: nobody's silence, deadlines are put off by it

What others said meanwhile lies in the kernel unread: limits that pass in such a time would be charged to
those whom we waited for. Every ticker that keeps deadlines asks here. What the event loop's thread worked
meanwhile is no standstill: whoever floods it would put off the very limits that end the flood.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic, thread_time

NOTICED = 1.0
"""Seconds: on a busy machine one is late, too, but hardly ever by so much."""


class Tick:
    """When the next tick of a ticker is due: by the real clock, whatever its deadlines go by."""

    __slots__ = ("_clock", "_due", "_worked", "_working")

    def __init__(
        self, clock: Callable[[], float] = monotonic, working: Callable[[], float] = thread_time
    ) -> None:
        """`working`: seconds of CPU that this thread has had."""
        self._clock, self._working = clock, working
        self._due = inf
        self._worked = 0.0

    def due_in(self, seconds: float) -> None:
        """The next one."""
        self._due, self._worked = self._clock() + seconds, self._working()

    def lost(self) -> float:
        """At a tick: the seconds that deadlines are to be put off by; mostly none."""
        late = self._clock() - self._due
        if late <= NOTICED:
            return 0.0
        idle = late - (self._working() - self._worked)
        return idle if idle > NOTICED else 0.0
