"""Who may be connected, and for how long without a request: one look at all, instead of a timer for each.

    connected --> waiting (for a head, or for the next one) <--> busy (a request is being answered)
                     |  past its deadline: 408 or a plain close
                     |  the house is full: who waits longest goes, so that slow callers never keep others out

One per process. Times are seconds of the event loop's clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from itertools import islice, takewhile
from typing import Protocol
from weakref import WeakKeyDictionary

from proxy.server.policy import LimitPolicy
from proxy.standstill import Tick

_log = logging.getLogger("kuro.server")

SWEEP = 0.5
"""Seconds between two looks; deadlines are kept up to this much late."""
RESTED = 0.5
"""Seconds without a request after which a connection may be closed to spare its descriptor.

For a place in a full house there is no such respite: whoever isn't let in is refused, where others wait in
the kernel's queue for a descriptor, and slow callers who come in waves would keep everybody out.
"""
CUTS = 64
"""Connections that are ended at once; then others get a turn."""
BREATH = 0.005
"""Seconds until the next lot."""
_REPORT = 10.0
"""Seconds between two lines about refusals: who sends rubbish must not fill the disk."""


class Guest(Protocol):
    """A connection, as the door sees it."""

    deadline: float
    write_paused: bool
    """An answer is on its way to it, and it takes it slowly: it has a deadline, and a right to stay."""

    def overdue(self) -> None:
        """Its deadline has passed."""

    def evict(self) -> None:
        """It waits for longer than anybody, and others want to come in."""


class Door:
    """Those who wait, in the order in which they began to."""

    def __init__(self, limits: LimitPolicy, loop: asyncio.AbstractEventLoop) -> None:
        self.limits = limits
        self.loop = loop
        self.refusals: Counter[str] = Counter()
        """Code -> refusals that were not told yet."""
        self._told = 0.0
        self._waiting: dict[Guest, float] = {}
        """Since when."""
        self._inside = 0
        self._sweeping = False
        self._due = Tick()

    def enter(self, guest: Guest) -> bool:
        """Lets a new connection in; False: the house is full of callers who are being answered."""
        if self._inside >= self.limits.max_connections:
            if not self._dismiss(1, self.loop.time()):
                return False
            self.refusals["connection_dropped"] += 1
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
            self._look_in(SWEEP)

    def busy(self, guest: Guest) -> None:
        """A request is being answered."""
        self._waiting.pop(guest, None)

    def spare(self, number: int) -> None:
        """Descriptors run short: up to so many of those who wait longest go, the newly come excepted."""
        self._dismiss(number, self.loop.time() - RESTED)

    def _dismiss(self, number: int, before: float) -> bool:
        """Up to so many who wait since then or longer go, longest first; whether anybody went."""
        long = takewhile(lambda guest: self._waiting[guest] <= before, self._waiting)
        leaving = list(islice((guest for guest in long if not guest.write_paused), number))
        for guest in leaving:
            guest.evict()
        return bool(leaving)

    def _sweep(self) -> None:
        now = self.loop.time()
        if lost := self._due.lost():
            for guest in self._waiting:
                guest.deadline += lost
        due = [guest for guest in self._waiting if guest.deadline <= now]
        for guest in due[:CUTS]:
            guest.overdue()
        if self.refusals and now - self._told > _REPORT:
            self._tell(now)
        self._sweeping = bool(self._waiting or self.refusals)
        if self._sweeping:
            self._look_in(BREATH if len(due) > CUTS else SWEEP)

    def _look_in(self, seconds: float) -> None:
        self._due.due_in(seconds)
        self.loop.call_later(seconds, self._sweep)

    def _tell(self, now: float) -> None:
        told = ", ".join(f"{number} {code}" for code, number in sorted(self.refusals.items()))
        _log.warning("connections refused or cut: %s", told, extra={"event": "refused_connections"})
        self.refusals.clear()
        self._told = now


_doors: WeakKeyDictionary[object, Door] = WeakKeyDictionary()


def door_of(server: object, limits: LimitPolicy, loop: asyncio.AbstractEventLoop) -> Door:
    """The one door of a server; whoever asks first has it made."""
    door = _doors.get(server)
    if door is None:
        door = _doors[server] = Door(limits, loop)
    return door


def adopt_limits(limits: LimitPolicy) -> None:
    """A reload: what every door of this process goes by from now on. Deadlines that run stay."""
    for door in _doors.values():
        door.limits = limits


def spare_waiting(server: object, number: int) -> None:
    """Closes up to so many of this server's connections that wait for a request."""
    door = _doors.get(server)
    if door is not None:
        door.spare(number)
