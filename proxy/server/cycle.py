"""One request and its response on a caller's connection, for whoever answers it: directly, or by ASGI.

    direct    whole() | receive()     the body if it is there already, else as it comes
              watch(task)             cancels the task when the caller leaves
              answer() | start(), write()
    ASGI      receive(), send()       for the plain routes

Head and first piece of body are one write; chunks where no length is said, but for HTTP/1.0. The hot route
answers directly: ASGI's dicts, messages and lists of pairs cost a chat call as much as a cached decision.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Protocol

from proxy.errors import ApiError
from proxy.server.admission import stopping
from proxy.server.head import Head
from proxy.server.types import App, Message, Pair, Scope
from proxy.wire.reply import error_body

_log = logging.getLogger("kuro.server")

CYCLE = "kuro.cycle"
"""The extension of ASGI under which an application finds the cycle."""
HIGH_WATER = 64 * 1024
"""Bytes of a body that nobody has asked for yet, above which no more is read."""

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_NO_BODY = frozenset((204, 304))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"
_CLOSE = b"connection: close\r\n"
_CLOSING_LENGTH = b"connection: close\r\ncontent-length: %d\r\n\r\n"


class Line(Protocol):
    """The connection, as a cycle sees it."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    write_paused: bool

    async def drain(self) -> None:
        """Until the caller has taken most of what was written."""

    def resume_reading(self) -> None:
        """More of the body is wanted."""

    def answered(self, cycle: Cycle) -> None:
        """The response is complete."""


class Cycle:
    """Made by the protocol when a request's head is complete; fed by it, and run as a task."""

    __slots__ = (
        "_bodiless", "_body", "_chunked", "_composed", "_expects_continue", "_knows_chunks", "_left", "_line",
        "_news", "_route", "_waiter", "_watcher", "complete", "disconnected", "head", "keep_alive", "left",
        "length", "more_body", "started", "task",
    )  # fmt: skip

    def __init__(
        self,
        line: Line,
        route: Route,
        head: Head,
        length: bytes | None,
        *,
        keep_alive: bool,
        bodiless: bool = False,
        chunks: bool = True,
    ) -> None:
        """`bodiless`: it was a HEAD; `chunks`: the caller knows them (RFC 9112, section 7)."""
        self.head = head
        """The request's."""
        self.length = length
        """What it says of its body's length: digits; None: nothing."""
        self.task: asyncio.Task[None]
        """Which runs it; set when that is made."""
        self.keep_alive = keep_alive
        self.more_body = True
        """The request's body isn't complete yet."""
        self.disconnected = False
        """The caller is gone: what is sent is dropped."""
        self.left = False
        """It left while it was watched: a CancelledError that arrives now is for that."""
        self.started = False
        """A response was begun; its head may not be written yet."""
        self.complete = False
        """The response is complete."""
        self._line = line
        self._route = route
        self._expects_continue = head.expects_continue
        self._bodiless = bodiless
        self._knows_chunks = chunks
        self._body: list[bytes] = []
        self._news = False
        """There is something to receive: a piece of body, or its end."""
        self._waiter: asyncio.Future[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._composed = b""
        """Composed, not written yet: it goes with the first piece of body."""
        self._chunked = False
        self._left: int | None = None
        """Bytes of the said length that are still to come; None: no length was said."""

    # --- told by the protocol --------------------------------------------------------------------

    def feed(self, data: bytes) -> bool:
        """A piece of the request's body; whether that is enough for now."""
        self._body.append(data)
        self._news = True
        if self._waiter is not None:
            self._ring()
        return len(data) > HIGH_WATER or (len(self._body) > 1 and sum(map(len, self._body)) > HIGH_WATER)

    def finish(self) -> None:
        """The request's body is complete."""
        self.more_body = False
        self._news = True
        if self._waiter is not None:
            self._ring()

    def disconnect(self) -> None:
        """The caller is gone."""
        self.disconnected = True
        if self._watcher is not None:
            self._leave(self._watcher)
        self._ring()

    async def run(self, tasks: set[asyncio.Task[None]]) -> None:
        """The request's task: whatever the route does, the caller gets a response or a closed line.

        It takes itself off `tasks`: a callback for that would cost a turn of the event loop.
        """
        try:
            await self._route(self)
        except BaseException as error:
            await self._crashed(error)
            if not isinstance(error, Exception):
                raise
        else:
            if not self.complete and not self.disconnected:
                await self._crashed(RuntimeError("the application returned without a whole response"))
        finally:
            tasks.discard(self.task)

    # --- answering directly ----------------------------------------------------------------------

    def whole(self) -> bytes | None:
        """The request's body when all of it has come and nothing was received of it, else None."""
        if self.more_body or self.disconnected or not self._news:
            return None
        parts, self._body, self._news = self._body, [], False
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def watch(self, task: asyncio.Task[None]) -> None:
        """Until `unwatch`: should the caller leave, the task is cancelled, once, and `left` is true.

        Nobody reads from a caller who waits, and `receive` would have to be awaited beside the work.
        """
        self._watcher = task
        self._line.resume_reading()  # or else nobody would be told that it is gone
        if self.disconnected:
            self._leave(task)

    def unwatch(self) -> None:
        """Whoever leaves now has his answer, or will not get any."""
        self._watcher = None

    async def answer(self, status: int, fields: bytes, body: bytes) -> None:
        """A whole response; `fields` is made by `fields`, and says no length."""
        if self._line.write_paused and not self.disconnected:
            await self._line.drain()
        if not self.disconnected:
            end = b"content-length: %d\r\n\r\n" if self.keep_alive else _CLOSING_LENGTH
            self.started, self._chunked, self._left = True, False, len(body)
            self._composed = b"%b%b%b" % (_status_line(status), fields, end % len(body))
            self._write(body, False)

    def start(self, status: int, fields: bytes) -> None:
        """A response of unknown length: its head goes with the first piece."""
        self.started = True
        self._expects_continue = False
        self._chunked = self._knows_chunks
        end = (b"" if self.keep_alive else _CLOSE) + (_CHUNKED if self._chunked else b"")
        self._composed = b"%b%b%b\r\n" % (_status_line(status), fields, end)

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """A piece of it. Waits while the caller takes too little; says nothing to the gone."""
        if self._line.write_paused and not self.disconnected:
            await self._line.drain()
        if not self.disconnected:
            self._write(data, more)

    def write_now(self, data: bytes) -> bool:
        """`write` without a wait; False, and nothing is done, when that can't be."""
        if (
            self._line.write_paused
            or self._composed
            or not self.started
            or self.complete
            or self.disconnected
        ):
            return False
        self._write(data, True)
        return True

    # --- ASGI ------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """The next message of ASGI."""
        line = self._line
        if self._expects_continue and not line.transport.is_closing():
            self._expects_continue = False
            line.transport.write(_CONTINUE)
        while not (self._news or self.disconnected or self.complete):
            line.resume_reading()
            self._waiter = line.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.disconnected or self.complete:
            return {"type": "http.disconnect"}
        parts, self._body, self._news = self._body, [], False
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """One message of ASGI. Waits while the caller takes too little; says nothing to the gone."""
        if self._line.write_paused and not self.disconnected:
            await self._line.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.body" and self.started and not self.complete:
            self._write(message.get("body", b""), message.get("more_body", False))
        elif message["type"] == "http.response.start" and not self.started:
            self._composed = self._compose(message["status"], message.get("headers", ()))
            self.started = True
            self._expects_continue = False
        else:
            raise RuntimeError(f"{message['type']} was not to be sent now")

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._watcher = None
        self.left = True
        task.cancel()

    def _ring(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- writing ---------------------------------------------------------------------------------

    def _write(self, body: bytes, more: bool) -> None:
        if self._bodiless:
            self._left, data = None, self._composed
        elif self._chunked:
            data = b"%b%x\r\n%b\r\n" % (self._composed, len(body), body) if body else self._composed
            if not more:
                data += _LAST_CHUNK
        else:
            if self._left is not None:
                self._left -= len(body)
                if self._left < 0:
                    raise RuntimeError("the response is longer than its content-length")
            data = self._composed + body if self._composed else body
        self._composed = b""
        if data:
            self._line.transport.write(data)
        if not more:
            if self._left:
                raise RuntimeError("the response is shorter than its content-length")
            self.complete = True
            if self._waiter is not None:
                self._ring()
            self._line.answered(self)

    def _compose(self, status: int, pairs: Iterable[Pair]) -> bytes:
        """The head of an ASGI response. Raises RuntimeError when a header holds a line break or NUL."""
        closes = False
        for name, value in pairs:
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection" and b"close" in value.lower():
                closes = True
                self.keep_alive = False
        end = b"" if self.keep_alive or closes else _CLOSE
        # There a body of unknown length ends with the line.
        if self._left is None and status not in _NO_BODY and self._knows_chunks:
            self._chunked = not self._bodiless
        if self._chunked:
            end += _CHUNKED
        return b"%b%b%b\r\n" % (_status_line(status), fields(pairs), end)

    async def _crashed(self, error: BaseException) -> None:
        """Says 500, or 503 at the process's end, while that can still be said, else cuts the line: never a
        clean end of half a response."""
        if not isinstance(error, asyncio.CancelledError):
            _log.error("a request failed outside of its own error handling", exc_info=error)
        if self.complete or self.disconnected:
            return
        if self.started and not self._composed:
            self._line.transport.close()
            return
        self.keep_alive = False
        told = stopping() if isinstance(error, asyncio.CancelledError) else _OUR_FAULT
        pairs = [(name.encode(), value.encode()) for name, value in told.headers if name != "connection"]
        await self.answer(told.status, fields([*pairs, *_JSON]), error_body(told))


def fields(pairs: Iterable[Pair]) -> bytes:
    """Header lines. Raises RuntimeError when one holds a line break or NUL."""
    lines = [b"%b: %b\r\n" % pair for pair in pairs]
    whole = b"".join(lines)
    if whole.count(b"\n") != len(lines) or whole.count(b"\r") != len(lines) or b"\0" in whole:
        raise RuntimeError("a response header holds a line break or NUL")
    return whole


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def by_asgi(app: App, scope: Scope) -> Route:
    """The route of an application that knows nothing of cycles."""

    async def route(cycle: Cycle) -> None:
        scope["extensions"] = {CYCLE: cycle}
        try:
            await app(scope, cycle.receive, cycle.send)
        finally:
            del scope["extensions"]  # It leads back here: only the collector would part them.

    return route


Route = Callable[[Cycle], Awaitable[None]]
"""Answers a request."""

_JSON = ((b"content-type", b"application/json"),)
_OUR_FAULT = ApiError(500, "Something went wrong here.", type="server_error", code="internal_error")
