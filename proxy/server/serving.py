"""One serving process and its end: uvicorn's server with our own drain in front of its shutdown.

    SIGTERM, SIGINT   readiness off, new calls refused; open ones go on, health probes are answered
      up to `drain_timeout`, or until the second signal
                      the rest is ended: a stream by one error event, a waiting caller by 503
      up to BACKSTOP  for the last bytes to be taken; then connections are closed, records flushed, exit 0

A worker among several hurries only when its parent says so: a terminal's Ctrl-C and a service manager's
SIGTERM reach every process of the group, and the parent's word comes on top of that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from proxy.server.acceptor import Acceptor
from proxy.server.admission import Admission
from proxy.server.descriptors import callers_share
from proxy.server.door import spare_waiting
from proxy.server.link import DRAIN, HURRY, READY

logger = logging.getLogger("kuro")

TICK = 0.05
"""Seconds between two looks at what is still open."""
LAST_WORDS = 0.1
"""Seconds in which a call that was on its way when the socket closed is still refused in words."""
BACKSTOP = 3
"""Seconds that callers get to take the last bytes, and uvicorn to close what they left open."""


class Server(uvicorn.Server):
    """`link` leads to the parent of a worker; None: this process is the only one."""

    def __init__(
        self,
        config: uvicorn.Config,
        admission: Admission,
        patience: float,
        link: Connection[Any, Any] | None = None,
        told: Callable[[Any], None] = lambda _: None,
    ) -> None:
        """`told` takes whatever else the parent says."""
        config.timeout_graceful_shutdown = BACKSTOP
        super().__init__(config)
        self._admission = admission
        admission.connections = self.server_state.connections
        admission.max_connections = callers_share()
        self._patience = patience
        self._link = link
        self._heed = told
        self._hurried = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal. Uvicorn's own skips the flush on the second, and raises all of them again at the end."""
        if self._admission.closed and self._link is None:
            self.hurry()
        self.drain()

    def drain(self) -> None:
        """Begins the end. Safe in a signal handler, and before the server has started."""
        self._admission.close()
        self.should_exit = True

    def hurry(self) -> None:
        """Ends open calls now."""
        self._hurried = True
        self.drain()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, with our own acceptor; then the parent is told, and listened to."""
        config, state = self.config, self.server_state
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        kind: Any = config.http_protocol_class
        protocol = partial(kind, config, state, self.lifespan.state)
        share, spare = self._admission.max_connections, partial(spare_waiting, state)
        servers: Any = [Acceptor(each, protocol, state.connections, share, spare) for each in sockets or ()]
        self.servers = servers
        self.started = True
        if self._link is not None:
            self._link.send(READY)
            asyncio.get_running_loop().add_reader(self._link.fileno(), self._told)
            # uvloop has made it non-blocking, and half of a long message would look like the parent's end.
            os.set_blocking(self._link.fileno(), True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Lets open calls finish, ends the rest, then as uvicorn's. The socket is kept open until then."""
        await self._finish_calls()
        tasks = self.server_state.tasks
        for task in tuple(tasks):
            task.add_done_callback(tasks.discard)  # one that has not begun ends without a word of its own
            task.cancel()
        for server in self.servers:
            server.close()
        for each in sockets or ():
            each.close()
        await asyncio.sleep(LAST_WORDS)
        await super().shutdown(sockets)

    async def _finish_calls(self) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + self._patience
        left = self._admission.open
        if left:
            logger.info("stopping: %d open calls may finish within %g s", left, self._patience)
        while self._admission.open and not self._hurried and clock() < until:  # noqa: ASYNC110  # plain flags
            await asyncio.sleep(TICK)
        if self._admission.open:
            logger.warning("stopping: %d calls are ended before their answers", self._admission.open)

    def _told(self) -> None:
        assert self._link is not None
        try:
            word = self._link.recv()
        except (EOFError, OSError):  # the parent is gone: nobody would ever tell us to stop
            asyncio.get_running_loop().remove_reader(self._link.fileno())
            word = DRAIN
        if word not in (DRAIN, HURRY):
            self._heed(word)
            return
        if word == HURRY:
            self.hurry()
        self.drain()
