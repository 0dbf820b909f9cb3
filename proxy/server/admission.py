"""Who is served now, who waits, and who is sent away: one counter, and a queue when it is full.

    enter --a place is free----> in flight --leave--> the place goes to the next in line, or is free
      |---- none: join a line -> waiting ---^         one line per key; the keys take turns, each is FIFO
      |                             |---------------> 503 after `queue_timeout`, 504 at the caller's deadline
      +---- the queue is full, or the process ends -> 503 at once

A place is a call from the end of its body to the end of its answer. The queue's room is fair, too: when it
is full, a newcomer takes the place of the last one in the longest line, if its own is shorter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection

from proxy.errors import ApiError, retry_headers
from proxy.gateway import Call
from proxy.server.policy import LimitPolicy
from proxy.standstill import Tick

TICK = 0.05
"""Seconds between two looks at the deadlines of those who wait; none while nobody does."""
PATIENCE = 1.0
"""Seconds after which a caller that was sent away may come back."""


class Turn:
    """One caller in the queue. Its future gets None: a place; or an exception: it was sent away."""

    __slots__ = ("future", "in_line", "key", "own", "until")

    def __init__(self, key: str, until: float, own: bool, future: asyncio.Future[None]) -> None:
        self.key = key
        self.until = until
        """On the queue's clock."""
        self.own = own
        """`until` is the caller's own deadline."""
        self.future = future
        self.in_line = True

    @property
    def granted(self) -> bool:
        """It was given a place."""
        future = self.future
        return future.done() and not future.cancelled() and future.exception() is None


class Admission:
    """All places of one process."""

    def __init__(self, limits: LimitPolicy, clock: Callable[[], float]) -> None:
        self._limit = limits.max_in_flight
        self._room = limits.max_queue
        self._patience = limits.queue_timeout
        self._clock = clock
        self._lines: dict[str, deque[Turn]] = {}
        """By key, none of them empty, in the order in which the keys have their turns."""
        self._ticking = False
        self._due = Tick()
        self.connections: Collection[object] = ()
        """Of callers, with or without a call."""
        self.max_connections = 0
        """Beyond so many there may be no descriptor left for upstreams. Set where `connections` is."""
        self.in_flight = 0
        self.waiting = 0
        self.refused = 0
        """Calls sent away because there was no place for them, at once or after a wait."""
        self.closed = False
        """The process ends: nobody enters any more; who waits still may."""

    def adopt(self, limits: LimitPolicy) -> None:
        """A reload: other limits. Nobody who is in is sent away; who waits gets the places that are new."""
        self._limit, self._room, self._patience = limits.max_in_flight, limits.max_queue, limits.queue_timeout
        while self.in_flight < self._limit and (turn := self._next()) is not None:
            self.in_flight += 1
            turn.future.set_result(None)

    @property
    def open(self) -> int:
        """Calls that are served or wait for it."""
        return self.in_flight + self.waiting

    def close(self) -> None:
        """From now on everybody is sent away. Safe in a signal handler."""
        self.closed = True

    def check(self, open_calls: int) -> None:
        """Whether a call is worth reading at all. Raises ApiError when its body or connection is too much."""
        if open_calls > self._limit + self._room and not self.closed:
            raise self._overloaded()
        if len(self.connections) > self.max_connections:
            raise self._overloaded(("connection", "close"))

    def enter(self) -> bool:
        """Takes a free place; False when there is none. While somebody waits there is none."""
        if self.in_flight >= self._limit or self.closed:
            return False
        self.in_flight += 1
        return True

    async def wait(self, call: Call, key: str) -> None:
        """Waits for a place when there was none. Raises ApiError; whoever is cancelled holds none."""
        began = self._clock()
        future = asyncio.get_running_loop().create_future()
        turn = self.join(key, call.remaining(), call.impatient, future)
        self._wake()
        try:
            await future
        except asyncio.CancelledError:
            self.quit(turn)
            raise
        finally:
            call.queued = self._clock() - began

    def leave(self) -> None:
        """Gives a place back: to the next in line, if there is one."""
        turn = self._next() if self._lines and self.in_flight <= self._limit else None
        if turn is None:
            self.in_flight -= 1
        else:
            turn.future.set_result(None)

    # --- the queue, without waiting --------------------------------------------------------------

    def join(self, key: str, remaining: float, impatient: bool, future: asyncio.Future[None]) -> Turn:
        """A turn at the end of the key's line. Raises ApiError when there is no room.

        `remaining` is what the call's deadline leaves, `impatient` says that the caller set that itself.
        """
        if self.closed:
            raise stopping()
        if self.waiting >= self._room:
            self._make_room(key)
        patience = min(self._patience, remaining)
        turn = Turn(key, self._clock() + patience, impatient and patience == remaining, future)
        self._lines.setdefault(key, deque()).append(turn)
        self.waiting += 1
        return turn

    def quit(self, turn: Turn) -> None:
        """The caller left: its place, if it had just been given one, goes on to the next."""
        if turn.in_line:
            self._remove(turn)
        elif turn.granted:
            self.leave()

    def expire(self) -> None:
        """Sends away those who have waited for long enough."""
        now = self._clock()
        for turn in [turn for line in self._lines.values() for turn in line if turn.until <= now]:
            self._remove(turn)
            if not turn.future.done():
                turn.future.set_exception(_late() if turn.own else self._overloaded())

    def _next(self) -> Turn | None:
        """The first of the key whose turn it is; that key's next turn comes after all others'."""
        while self._lines:
            key, line = next(iter(self._lines.items()))
            del self._lines[key]
            while line:
                turn = line.popleft()
                turn.in_line = False
                self.waiting -= 1
                if turn.future.done():  # it left, and its task has not run since
                    continue
                if line:
                    self._lines[key] = line
                return turn
        return None

    def _make_room(self, key: str) -> None:
        """Sends the last one of the longest line away, or, should that be no longer, the newcomer."""
        own = len(self._lines.get(key, ()))
        longest = max(self._lines.values(), key=len, default=None)
        if longest is None or len(longest) <= own + 1:
            raise self._overloaded()
        turn = longest[-1]
        self._remove(turn)
        if not turn.future.done():
            turn.future.set_exception(self._overloaded())

    def _remove(self, turn: Turn) -> None:
        line = self._lines[turn.key]
        line.remove(turn)
        if not line:
            del self._lines[turn.key]
        turn.in_line = False
        self.waiting -= 1

    def _wake(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._due.due_in(TICK)
            asyncio.get_running_loop().call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        if lost := self._due.lost():
            for turn in [turn for line in self._lines.values() for turn in line]:
                turn.until += lost
        self.expire()
        if self.waiting:
            self._wake()

    def _overloaded(self, *headers: tuple[str, str]) -> ApiError:
        self.refused += 1
        return ApiError(
            503,
            "This proxy serves as many calls as it can, and no more may wait.",
            type="server_error",
            code="proxy_overloaded",
            headers=(*retry_headers(PATIENCE), *headers),
        )


def stopping() -> ApiError:
    """What a caller is told while the process ends. Its next connection goes to another process."""
    return ApiError(
        503,
        "This proxy is being stopped.",
        type="server_error",
        code="proxy_stopping",
        headers=(*retry_headers(PATIENCE), ("connection", "close")),
    )


def _late() -> ApiError:
    return ApiError(
        504,
        "The deadline that the caller set passed before there was a place for the call.",
        type="timeout_error",
        code="request_timeout",
    )
