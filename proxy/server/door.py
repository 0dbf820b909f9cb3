"""Who may be connected, and for how long without a request: one look at all, instead of a timer for each.

    connected --> waiting (for a head, or for the next one) <--> busy (a request is being answered)
                     |  past its deadline: 408 or a plain close
                     |  the house is full: who waits longest goes, so that slow callers never keep others out

One per process. Times are seconds of the event loop's clock.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Protocol

from proxy.server.policy import LimitPolicy

SWEEP = 0.5
"""Seconds between two looks; deadlines are kept up to this much late."""
RESTED = 0.5
"""Seconds without a request after which a connection may be closed to spare its descriptor."""


class Guest(Protocol):
    """A connection, as the door sees it."""

    deadline: float

    def overdue(self) -> None:
        """Its deadline has passed."""

    def evict(self) -> None:
        """It waits for longer than anybody, and others want to come in."""


class Door:
    """Those who wait, in the order in which they began to."""

    def __init__(self, limits: LimitPolicy, loop: asyncio.AbstractEventLoop) -> None:
        self.limits = limits
        self.loop = loop
        self._waiting: dict[Guest, float] = {}
        """Since when."""
        self._inside = 0
        self._sweeping = False

    def enter(self, guest: Guest) -> bool:
        """Lets a new connection in; False: the house is full of callers who are being answered."""
        if self._inside >= self.limits.max_connections and not self._make_room():
            return False
        self._inside += 1
        self.wait(guest, self.limits.head_timeout)
        return True

    def leave(self, guest: Guest) -> None:
        """A connection that was let in is gone."""
        self._waiting.pop(guest, None)
        self._inside -= 1

    def wait(self, guest: Guest, patience: float) -> None:
        """From now on it waits, at most so long."""
        now = self.loop.time()
        guest.deadline = now + patience
        self._waiting.pop(guest, None)
        self._waiting[guest] = now
        if not self._sweeping:
            self._sweeping = True
            self.loop.call_later(SWEEP, self._sweep)

    def busy(self, guest: Guest) -> None:
        """A request is being answered."""
        self._waiting.pop(guest, None)

    def spare(self, number: int) -> None:
        """Descriptors run short: up to so many of those who wait longest go, the newly come excepted."""
        before = self.loop.time() - RESTED
        for guest in [guest for guest, since in islice(self._waiting.items(), number) if since <= before]:
            guest.evict()

    def _make_room(self) -> bool:
        for guest in self._waiting:
            guest.evict()
            return True
        return False

    def _sweep(self) -> None:
        now = self.loop.time()
        for guest in [guest for guest in self._waiting if guest.deadline <= now]:
            guest.overdue()
        self._sweeping = bool(self._waiting)
        if self._sweeping:
            self.loop.call_later(SWEEP, self._sweep)
