"""Takes connections off the listening socket: a few at a time, and none beyond what descriptors there are.

    the socket is readable --up to BURST--> protocol      so that workers on one socket share a storm
      `share` and SURPLUS connections, or no descriptor left --> PAUSE, and look again

An event loop's own server takes all at once, and when descriptors have run out it closes what it takes. Here
the rest waits in the kernel's queue, where it costs no descriptor of ours.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection

BURST = 8
"""Connections that are taken in one turn of the loop."""
SURPLUS = 8
"""Connections beyond those that can be served: for as long as it takes to tell them so."""
PAUSE = 0.005
"""Seconds until the next look when there was no room."""


class Acceptor:
    """Stands where uvicorn expects an `asyncio.Server`. The socket is its giver's to close, after this."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        connections: Collection[object],
        share: int,
        spare: Callable[[int], None],
    ) -> None:
        """`connections` are those that live; every protocol adds and removes itself.

        `spare` closes up to so many of those who wait for nothing but another request.
        """
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._protocol = protocol
        self._connections = connections
        self._share = share
        self._spare = spare
        self._opening: set[asyncio.Task[object]] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._closed = False
        listening.setblocking(False)
        self._loop.add_reader(listening.fileno(), self._take)

    def close(self) -> None:
        """Takes those who are in the kernel's queue already, and no more after them. Idempotent."""
        if self._closed:
            return
        self._closed = True
        while self._take_one():
            pass
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._listening.fileno())

    async def wait_closed(self) -> None:
        """Nothing is left to wait for."""

    def _take(self) -> None:
        for _ in range(BURST):
            if not self._take_one():
                return

    def _take_one(self) -> bool:
        room = self._share - len(self._connections) - len(self._opening)
        if room <= 0:
            self._spare(2 * SURPLUS)
        if room <= -SURPLUS:
            self._rest()
            return False
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return False  # another worker was quicker, or the caller has left again
        except OSError:  # no descriptor or no memory
            self._rest()
            return False
        self._open(accepted)
        return True

    def _open(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        task: asyncio.Task[object] = self._loop.create_task(
            self._loop.connect_accepted_socket(self._protocol, accepted)
        )
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[object]) -> None:
        self._opening.discard(task)
        if not task.cancelled():
            task.exception()  # the caller left while its transport was made: nobody is to be told

    def _rest(self) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._resting = self._loop.call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._resting = None
        self._loop.add_reader(self._listening.fileno(), self._take)
