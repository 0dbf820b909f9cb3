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
from ssl import SSLObject
from typing import Any, cast
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url
from uvicorn.config import Config
from uvicorn.server import ServerState

from proxy.errors import ApiError
from proxy.server.cycle import Cycle
from proxy.server.door import Door
from proxy.server.policy import LimitPolicy
from proxy.server.types import App, Scope
from proxy.wire.reply import error_body

SLICE = 16 * 1024
"""Bytes that the parser gets at once before a head is complete, so that its size is counted."""
LINGER = 2.0
"""Seconds that a refused caller gets to read why, before a close with unread bytes would reset the line."""

_ASGI = {"version": "3.0", "spec_version": "2.3"}
_doors: WeakKeyDictionary[ServerState, Door] = WeakKeyDictionary()


class Protocol(asyncio.Protocol):
    """One caller's connection."""

    __slots__ = (
        "_app", "_begun", "_client", "_coded", "_cycle", "_door", "_expects_continue", "_head_bytes",
        "_headers", "_hosts", "_in_head", "_keep_alive", "_lingering", "_parser", "_queued",
        "_reading_paused", "_server", "_state", "_tasks", "_tls", "_url", "_writable", "deadline", "loop",
        "transport", "write_paused",
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
        self._state = server_state
        self._tasks = server_state.tasks
        door = _doors.get(server_state)
        if door is None:
            door = _doors[server_state] = Door(limits, self.loop)
        self._door = door
        self._keep_alive = keep_alive
        self._parser: Any = HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._hosts = 0
        self._coded: list[bytes] = []
        """The values of Transfer-Encoding."""
        self._head_bytes = 0
        self._begun = False
        """A head has begun, and isn't complete."""
        self._in_head = True
        """What comes next is a head's."""
        self._expects_continue = False
        self._cycle: Cycle | None = None
        self._queued: deque[Cycle] | None = None
        """Pipelined requests behind the one that is being answered."""
        self._reading_paused = False
        self._lingering = False
        self._writable: asyncio.Future[None] | None = None
        self._server: tuple[str, int] | None = None
        self._client: tuple[str, int] | None = None
        self._tls = False

    # --- called by the transport -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """In, unless the house is full."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by descent
        self._server = _address(transport.get_extra_info("sockname"))
        self._client = _address(transport.get_extra_info("peername"))
        self._tls = isinstance(transport.get_extra_info("ssl_object"), SSLObject)
        if self._door.enter(self):
            self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn asks for `shutdown` alone
        else:
            self._lingering = True
            self._say(_FULL)
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
        except HttpParserUpgrade:
            pass  # Answered as the plain request that it is, too; what follows it is never read.
        except HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, ApiError) else _refusal(str(error)[:200]))
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
        self._parser = None  # It holds our methods: the cycle would keep both until a collection.

    def pause_writing(self) -> None:
        """The caller takes less than was written."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """Most of it has been taken."""
        self.write_paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # --- called by the door and by uvicorn -------------------------------------------------------

    def overdue(self) -> None:
        """No whole head in time: a caller that had begun one is told."""
        if self._begun and not self._lingering:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

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
        elif not self.transport.is_closing():
            self._door.wait(self, self._door.limits.head_timeout if self._begun else self._keep_alive)
        self.resume_reading()

    # --- called by the parser --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first line of a request."""
        self._url = b""
        self._headers = []
        self._hosts = 0
        self._coded = []
        self._begun = True
        self._expects_continue = False

    def on_url(self, url: bytes) -> None:
        """The target, or a piece of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer."""
        if not self._in_head:
            return
        name = name.lower()
        self._headers.append((name, value))
        if name == b"host":
            self._hosts += 1
        elif name == b"transfer-encoding":
            self._coded.append(value.strip().lower())
        elif name == b"expect":
            self._expects_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Starts the request's task, or puts it behind the one that is being answered."""
        parser = self._parser
        version = parser.get_http_version()
        scope = self._scope(version, parser.get_method().decode("ascii"))
        self._head_bytes = 0
        self._begun = self._in_head = False
        cycle = Cycle(
            self,
            scope,
            keep_alive=version == "1.1" and parser.should_keep_alive() and not parser.should_upgrade(),
            expects_continue=self._expects_continue,
        )
        before, self._cycle = self._cycle, cycle
        if before is None or before.complete:
            self._begin(cycle)
            return
        self._queued = self._queued if self._queued is not None else deque()
        self._queued.append(cycle)
        self._pause_reading()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, freed from its chunks; of an answered request it is dropped."""
        cycle = self._cycle
        assert cycle is not None
        if not cycle.complete and cycle.feed(body):
            self._pause_reading()

    def on_message_complete(self) -> None:
        """The end of the request."""
        self._in_head = True
        assert self._cycle is not None
        self._cycle.finish()

    # --- reading ---------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        limit, before = self._door.limits.max_head_bytes, self._begun
        for start in range(0, len(data), SLICE):
            piece = data[start : start + SLICE]
            if self._in_head:
                self._head_bytes += len(piece)
            self._parser.feed_data(piece)
            if self._in_head and self._head_bytes > limit:
                raise _head_too_large(f"more than {limit} bytes")
        if self._begun and not before and (self._cycle is None or self._cycle.complete):
            self._door.wait(self, self._door.limits.head_timeout)

    def _scope(self, version: str, method: str) -> Scope:
        lines = self._door.limits.max_header_lines
        if len(self._headers) > lines:
            raise _head_too_large(f"more than {lines} header lines")
        if version not in ("1.1", "1.0"):
            raise _refusal(f"it is HTTP/{version}")
        if self._hosts != 1 and (self._hosts or version == "1.1"):
            raise _refusal(f"it needs one Host header, not {self._hosts}")
        if self._coded and self._coded != [b"chunked"]:
            raise _refusal("its transfer-encoding is another than chunked")
        url = parse_url(self._url)
        raw: bytes | None = url.path
        if raw is None or not raw.startswith(b"/") or method == "CONNECT":
            raise _refusal("its target has no path")
        path = raw.decode("ascii")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": method,
            "scheme": "https" if self._tls else "http",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw,
            "query_string": url.query or b"",
            "root_path": "",
            "headers": self._headers,
            "server": self._server,
            "client": self._client,
            "state": {},
        }

    def _begin(self, cycle: Cycle) -> None:
        self._door.busy(self)
        task = self.loop.create_task(cycle.run(self._app))
        task.add_done_callback(self._tasks.discard)
        self._tasks.add(task)

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    # --- refusing and parting --------------------------------------------------------------------

    def _refuse(self, error: ApiError) -> None:
        """Says why, unless an answer is on its way; then that is the last thing that is said."""
        cycle = self._cycle
        if cycle is not None and not cycle.complete:
            cycle.keep_alive = False
            if cycle.more_body and not cycle.started:
                cycle.disconnect()  # It waits for a body that will never be complete.
            else:
                self._lingering = True
                return
        self._say(error)
        self._part(unread=True)

    def _say(self, error: ApiError) -> None:
        body = error_body(error)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (error.status, _PHRASES[error.status], len(body), body)
        )

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


def spare_waiting(state: ServerState, number: int) -> None:
    """Closes up to so many of this server's connections that wait for a request."""
    door = _doors.get(state)
    if door is not None:
        door.spare(number)


def _address(name: Any) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple | list) and len(name) >= 2 else None


def _refusal(why: str) -> ApiError:
    return ApiError(400, f"This is not a request that can be read: {why}.", code="invalid_http_request")


def _head_too_large(why: str) -> ApiError:
    return ApiError(431, f"The request's head has {why}.", code="request_head_too_large")


_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}
_TOO_SLOW = ApiError(
    408, "The request's head did not arrive in time.", type="timeout_error", code="request_timeout"
)
_FULL = ApiError(
    503, "This proxy has as many connections as it may have.", type="server_error", code="proxy_overloaded"
)
