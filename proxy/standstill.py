"""Whether this process itself stood still: stopped, swapped out, on a machine that was paused.

    tick .. tick .. tick ................................ tick .. tick
                     |<- late by more than NOTICED: nobody's silence, deadlines are put off by it

What others said meanwhile lies in the kernel unread: limits that pass in such a time would be charged to
those whom we waited for. Every ticker that keeps deadlines asks here.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic

NOTICED = 1.0
"""Seconds: a busy event loop is late, too, but hardly ever by so much."""


class Tick:
    """When the next tick of a ticker is due: by the real clock, whatever its deadlines go by."""

    __slots__ = ("_clock", "_due")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._due = inf

    def due_in(self, seconds: float) -> None:
        """The next one."""
        self._due = self._clock() + seconds

    def lost(self) -> float:
        """At a tick: the seconds that deadlines are to be put off by; mostly none."""
        late = self._clock() - self._due
        return late if late > NOTICED else 0.0
