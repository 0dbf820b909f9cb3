"""Callers' connections: bytes <-> requests, on the parser that uvicorn uses, run by uvicorn's server.

    data --parser--> head --> Cycle (a task) --response--> the next request, or rest
           |
           +-- not HTTP, too large, ambiguous: refused in OpenAI's shape, and the line is closed

RFC 9112 as a server reads it, strictly: whatever this proxy and one in front of it could understand
differently (a second Host, a length beside chunks, bytes after the end) is refused, and nothing behind it is
read. Uvicorn's own protocol knows neither limits nor deadlines for heads, and answers in plain text.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.config import Config
from uvicorn.server import ServerState

from proxy.errors import ApiError
from proxy.server import framing
from proxy.server.cycle import Cycle, Route, by_asgi
from proxy.server.door import door_of
from proxy.server.head import Head
from proxy.server.policy import LimitPolicy
from proxy.server.types import App, Pair

SLICE = 16 * 1024
"""Bytes that the parser gets at once before a head is complete, so that its size is counted."""
LINGER = 2.0
"""Seconds that a refused caller gets to read why, before a close with unread bytes would reset the line."""

_LENGTH = b"content-length"
PIPELINED = 16
"""Requests of one connection that wait for the one before them; more are refused."""
GRACE = 1.0
"""Seconds beyond `body_timeout`: an application that reads the body is the first to complain."""


class Protocol(asyncio.Protocol):
    """One caller's connection."""

    __slots__ = (
        "_app", "_begun", "_cycle", "_direct", "_door", "_dry", "_ends", "_head", "_head_bytes", "_in_head",
        "_keep_alive", "_length", "_lines", "_lingering", "_owing", "_parser", "_queued", "_reading_paused",
        "_state", "_tasks", "_unsent", "_upgrading", "_url", "_writable", "deadline", "loop", "transport",
        "write_paused",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: LimitPolicy = LimitPolicy(),  # noqa: B008  # frozen
        keep_alive: float = 75.0,
    ) -> None:
        """As uvicorn makes its protocols; `limits` and `keep_alive` (seconds) are bound beforehand."""
        if not config.loaded:
            config.load()
        self.loop = _loop or asyncio.get_running_loop()
        self.write_paused = False
        self.deadline = 0.0
        self._app: App = config.loaded_app
        self._direct: Mapping[tuple[bytes, bytes], Route] = getattr(self._app, "direct", {})
        self._state = server_state
        self._tasks = server_state.tasks
        self._door = door_of(server_state, limits, self.loop)
        self._keep_alive = keep_alive
        self._parser: Any = HttpRequestParser(self)
        self._url = b""
        self._lines: list[Pair] = []
        self._length: bytes | None = None
        """The head's lines as they come, and the value of the one that says the body's length."""
        self._head: Head | None = None
        """The latest one, complete."""
        self._upgrading = False
        """The head is an offer to upgrade."""
        self._owing = False
        """A read ended within a body: from then on it has a deadline."""
        self._dry = 0
        """Bytes of a body since its last content."""
        self._unsent = 0
        self._head_bytes = 0
        self._begun = False
        """A head has begun, and isn't complete."""
        self._in_head = True
        """What comes next is a head's."""
        self._cycle: Cycle | None = None
        self._queued: deque[Cycle] | None = None
        """Pipelined requests behind the one that is being answered."""
        self._reading_paused = False
        self._lingering = False
        self._writable: asyncio.Future[None] | None = None
        self._ends: Mapping[str, Any] = {}

    # --- called by the transport -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """In, unless the house is full."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by descent
        self._ends = framing.ends(transport)
        if self._door.enter(self):
            self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn asks for `shutdown` alone
        else:
            self._lingering = True
            self.transport.write(framing.response(framing.crowded()))
            transport.close()

    def data_received(self, data: bytes) -> None:
        """One read."""
        if self._lingering:
            return
        try:
            if self._in_head:
                self._read_head(data)
            else:
                self._parser.feed_data(data)
            if not self._in_head:
                self._owe(len(data))
        except HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, ApiError) else framing.unreadable(error, data[:3]))
        except ApiError as error:
            self._refuse(error)

    def eof_received(self) -> None:
        """The caller says no more, which is taken for leaving: nobody else would tell us of that."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The last call of all."""
        if self in self._state.connections:  # type: ignore[comparison-overlap]
            self._state.connections.discard(self)
            self._door.leave(self)
        for cycle in (self._cycle, *(self._queued or ())):
            if cycle is not None and not cycle.complete:
                cycle.disconnect()
        self.resume_writing()
        # They hold us, or our methods: what they close a circle with would stay until a collection.
        self._parser = self._cycle = self._queued = None

    def pause_writing(self) -> None:
        """The caller takes less than was written."""
        self.write_paused = True
        self._unsent = self.transport.get_write_buffer_size()
        self._door.wait(self, self._door.limits.send_timeout)

    def resume_writing(self) -> None:
        """Most of it has been taken."""
        if self.write_paused and self._cycle is not None and not self._cycle.complete:
            self._door.busy(self)
        self.write_paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # --- called by the door and by uvicorn -------------------------------------------------------

    def overdue(self) -> None:
        """Not in time: a caller that owes us a head or a body is told."""
        limits, cycle = self._door.limits, self._cycle
        if self.write_paused and not self._lingering:
            self._stalled()
        elif self._lingering:
            self.transport.close()
        elif self._begun:
            self._refuse(framing.too_slow("head", limits.head_timeout))
        elif self._owing and cycle is not None and not (cycle.started or cycle.complete):
            self._refuse(framing.too_slow("body", limits.body_timeout))
        else:
            self.transport.close()

    def _stalled(self) -> None:
        # One that takes little is waited for: what is unsent holds the upstream back.
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent = unsent
            self._door.wait(self, self._door.limits.send_timeout)
            return
        self._door.refusals["caller_stalled"] += 1
        self.transport.abort()

    def evict(self) -> None:
        """Makes room for another."""
        self._state.connections.discard(self)
        self._door.leave(self)
        self.transport.abort()

    def shutdown(self) -> None:
        """The server stops: now where nothing is being answered, else after the answer."""
        if self._cycle is None or self._cycle.complete:
            self.transport.close()
        else:
            self._cycle.keep_alive = False

    # --- called by cycles ------------------------------------------------------------------------

    async def drain(self) -> None:
        """Until the caller has taken most of what was written."""
        while self.write_paused:
            self._writable = self.loop.create_future()
            await self._writable

    def resume_reading(self) -> None:
        """More of the body is wanted."""
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resume_reading()

    def answered(self, cycle: Cycle) -> None:
        """The response is complete: the next pipelined request, rest, or the end."""
        self._state.total_requests += 1
        if not cycle.keep_alive:
            self._part(unread=cycle.more_body or self._lingering)
        elif self._queued:
            self._begin(self._queued.popleft())
        elif self._lingering:
            self._part(unread=True)
        elif not self.transport.is_closing():
            self._door.wait(self, self._door.limits.head_timeout if self._begun else self._keep_alive)
        self.resume_reading()

    # --- called by the parser --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first line of a request."""
        self._url = b""
        self._lines = []
        self._length = None
        self._begun = True

    def on_url(self, url: bytes) -> None:
        """The target, or a piece of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer."""
        if not self._in_head:
            return
        if len(name) == len(_LENGTH) and name.lower() == _LENGTH:
            self._length = value
        else:
            self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        """Starts the request's task, or puts it behind the one that is being answered."""
        parser = self._parser
        version, method, url = parser.get_http_version(), parser.get_method(), self._url
        if len(self._lines) + (self._length is not None) > self._door.limits.max_header_lines:
            raise framing.too_many(self._door.limits.max_header_lines)
        head = self._head
        if head is None or head.lines != self._lines:
            head = self._head = Head(self._lines)
        upgrading = self._upgrading = parser.should_upgrade()
        if upgrading or version != "1.1" or not head.plain:
            framing.check_head(method.decode("ascii"), version, head.hosts, head.coded)
        route = self._direct.get((method, url)) or by_asgi(
            self._app,
            framing.scope(method.decode("ascii"), url, version, head.pairs(self._length), self._ends),
        )
        self._begun = self._in_head = self._owing = False
        self._dry = 0
        if upgrading:
            return
        self._head_bytes = 0
        cycle = Cycle(
            self,
            route,
            head,
            self._length,
            # Answered before the body that it announced, it must end: body or request may come next.
            keep_alive=version == "1.1" and parser.should_keep_alive() and not head.expects_continue,
            bodiless=method == b"HEAD",
            chunks=version != "1.0",
        )
        before, self._cycle = self._cycle, cycle
        if before is None or before.complete:
            self._begin(cycle)
            return
        self._queued = self._queued if self._queued is not None else deque()
        if len(self._queued) == PIPELINED:
            self._cycle = before
            raise framing.too_eager()
        self._queued.append(cycle)
        self._pause_reading()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, freed from its chunks; of an answered request it is dropped."""
        cycle = self._cycle
        assert cycle is not None
        self._dry = 0
        if not cycle.complete and cycle.feed(body):
            self._pause_reading()

    def on_message_complete(self) -> None:
        """The end of the request."""
        if self._upgrading:
            return
        self._in_head = True
        cycle = self._cycle
        assert cycle is not None
        cycle.finish()
        if self._owing:
            self._owing = False
            if not cycle.complete:
                self._door.busy(self)
        if cycle.head.expects_continue and not cycle.started:
            parser = self._parser
            cycle.keep_alive = parser.get_http_version() == "1.1" and parser.should_keep_alive()

    # --- reading ---------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        limit, before = self._door.limits.max_head_bytes, self._begun
        for start in range(0, len(data), SLICE):
            piece = data[start : start + SLICE]
            if self._in_head:
                self._head_bytes += len(piece)
            try:
                self._parser.feed_data(piece)
            except HttpParserUpgrade as upgrade:
                self._carry_on()
                self.data_received(data[start + upgrade.args[0] :])
                return
            if self._in_head and self._head_bytes > limit:
                raise framing.too_large(self._head_bytes, len(self._url), limit)
            if self._lingering:
                return
        if self._begun and not before and (self._cycle is None or self._cycle.complete):
            self._door.wait(self, self._door.limits.head_timeout)

    def _carry_on(self) -> None:
        """An offer to upgrade is not taken up (RFC 9110, section 7.8): the same request without it.

        The parser takes what follows such a head for the other protocol's, so that a body would be lost,
        or read as the next request. Java's client sends such an offer with its first POST.
        """
        old, self._parser = self._parser, HttpRequestParser(self)
        self._in_head = True
        assert self._head is not None
        pairs = self._head.pairs(self._length)
        self._parser.feed_data(framing.plain_head(old.get_method(), self._url, old.get_http_version(), pairs))

    def _owe(self, size: int) -> None:
        """After a read that ended within a body."""
        self._dry += size
        if self._dry > self._door.limits.max_head_bytes + size:
            raise framing.padded(self._door.limits.max_head_bytes)
        if not self._owing and self._cycle is not None and not self._cycle.complete and not self._queued:
            self._owing = True
            self._door.wait(self, self._door.limits.body_timeout + GRACE)

    def _begin(self, cycle: Cycle) -> None:
        self._door.busy(self)
        cycle.task = task = self.loop.create_task(cycle.run(self._tasks))
        self._tasks.add(task)

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    # --- refusing and parting --------------------------------------------------------------------

    def _refuse(self, error: ApiError) -> None:
        """Says why, unless an answer is on its way; then that is the last thing that is said."""
        self._door.refusals[error.code or "refused"] += 1
        cycle = self._cycle
        if self._queued and cycle is not None and cycle.more_body:
            self._queued.pop()  # it had a good head, and waited for its turn
            self._lingering = True
            return
        if cycle is not None and not cycle.complete:
            cycle.keep_alive = False
            if cycle.more_body and not cycle.started:
                cycle.disconnect()  # It waits for a body that will never be complete.
            else:
                self._lingering = True
                return
        self.transport.write(framing.response(error))
        self._part(unread=True)

    def _part(self, *, unread: bool) -> None:
        """Closes; where bytes are still coming, only after the caller had time to read what was said."""
        if not unread or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._lingering = True
        self._head_bytes = 0
        self.transport.write_eof()
        self.resume_reading()
        self._door.wait(self, LINGER)
