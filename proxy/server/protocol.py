"""Callers' connections: uvicorn's protocol on httptools, with our own cycle and one ticker for all.

    connection --request--> Cycle (a task) --response--> idle --sweep--> closed after `timeout_keep_alive`

What is relied on of uvicorn is what `tests/server/test_protocol.py` holds; it is pinned by the lock file.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from proxy.server.cycle import Cycle

SWEEP = 1.0
"""Seconds between two looks for connections that have been idle for too long."""


class Protocol(HttpToolsProtocol):
    """One caller's connection."""

    cycle: Cycle | None  # type: ignore[assignment]  # stands in for uvicorn's own

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Idle until its first request."""
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        sweeper = _sweepers.get(self.server_state)
        if sweeper is None:
            sweeper = _sweepers[self.server_state] = Sweeper(self.server_state, self.timeout_keep_alive)
        sweeper.start(self.loop)

    def on_headers_complete(self) -> None:
        """Starts the request's task, or puts it behind the one that is being answered."""
        parser, scope = self.parser, self.scope
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = httptools.parse_url(self.url)
        raw = url.path
        path = raw.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw
        scope["query_string"] = url.query or b""
        before = self.cycle
        self.cycle = cycle = Cycle(
            scope,  # type: ignore[arg-type]  # a typed dict
            self.transport,
            self.flow,
            self.on_response_complete,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        if before is None or before.response_complete:
            self._begin(cycle)
        else:  # pipelined: one after the other
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """The next pipelined request, or rest."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle: Any = self.pipeline.pop()[0]
            self._begin(cycle)
        else:
            self.idle_since = self.loop.time()

    def rests_since(self, moment: float) -> bool:
        """Whether no request has been complete since then, and none is being answered."""
        return (self.cycle is None or self.cycle.response_complete) and self.idle_since <= moment

    def _begin(self, cycle: Cycle) -> None:
        tasks = self.tasks
        task = self.loop.create_task(cycle.run_asgi(self.app))
        task.add_done_callback(tasks.discard)
        tasks.add(task)


class Sweeper:
    """Closes what has been idle for too long; a timer for each connection would cost every request two."""

    def __init__(self, state: ServerState, patience: float) -> None:
        self._connections = state.connections
        self._patience = patience
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sweeps from now on, as long as there are connections."""
        if self._loop is None:
            self._loop = loop
            loop.call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        loop, self._loop = self._loop, None
        assert loop is not None
        moment = loop.time() - self._patience
        for connection in [*self._connections]:
            if isinstance(connection, Protocol) and connection.rests_since(moment):
                connection.transport.close()
        if self._connections:
            self.start(loop)


_sweepers: WeakKeyDictionary[ServerState, Sweeper] = WeakKeyDictionary()
