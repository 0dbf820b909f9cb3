"""One request and its response on a caller's connection: ASGI on one side, HTTP/1.1 on the other.

    receive()  the body as it comes, then `http.disconnect` when the caller is gone
    send()     head and first piece of body as one write; chunks where no length is said, but for HTTP/1.0

Uvicorn's own cycle looks through every header with two regular expressions and writes head and body apart,
which costs a chat call more than its routing does.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Protocol

from proxy.errors import ApiError
from proxy.server.types import App, Head, Message, Scope
from proxy.wire.reply import error_body

_log = logging.getLogger("kuro.server")

WRITE_NOW = "kuro.write_now"
"""The extension of ASGI under which an application finds `Cycle.write_now`."""
HIGH_WATER = 64 * 1024
"""Bytes of a body that nobody has asked for yet, above which no more is read."""

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_NO_BODY = frozenset((204, 304))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


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
        "_body", "_chunked", "_expects_continue", "_head", "_left", "_line", "_news", "_waiter", "complete",
        "disconnected", "keep_alive", "more_body", "scope", "started",
    )  # fmt: skip

    def __init__(self, line: Line, scope: Scope, *, keep_alive: bool, expects_continue: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.more_body = True
        """The request's body isn't complete yet."""
        self.disconnected = False
        """The caller is gone: what is sent is dropped."""
        self.started = False
        """A response was begun; its head may not be written yet."""
        self.complete = False
        """The response is complete."""
        self._line = line
        self._expects_continue = expects_continue
        self._body: list[bytes] = []
        self._news = False
        """There is something to receive: a piece of body, or its end."""
        self._waiter: asyncio.Future[None] | None = None
        self._head = b""
        """Composed, not written yet: it goes with the first piece of body."""
        self._chunked = False
        scope["extensions"] = {WRITE_NOW: self.write_now}
        self._left: int | None = None
        """Bytes of the said length that are still to come; None: no length was said."""

    # --- told by the protocol --------------------------------------------------------------------

    def feed(self, data: bytes) -> bool:
        """A piece of the request's body; whether that is enough for now."""
        self._body.append(data)
        self._tell()
        return len(data) > HIGH_WATER or sum(map(len, self._body)) > HIGH_WATER

    def finish(self) -> None:
        """The request's body is complete."""
        self.more_body = False
        self._tell()

    def disconnect(self) -> None:
        """The caller is gone."""
        self.disconnected = True
        self._ring()

    async def run(self, app: App) -> None:
        """The request's task: whatever the application does, the caller gets a response or a closed line."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            await self._crashed(error)
            if not isinstance(error, Exception):
                raise
        else:
            if not self.complete and not self.disconnected:
                await self._crashed(RuntimeError("the application returned without a whole response"))
        finally:
            self.scope.pop("extensions", None)  # It leads back here: only the collector would part them.

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
            self._head = self._compose(message["status"], message.get("headers", ()))
            self.started = True
            self._expects_continue = False
        else:
            raise RuntimeError(f"{message['type']} was not to be sent now")

    def write_now(self, data: bytes) -> bool:
        """`send` of a piece of body without a wait; False, and nothing is done, when that can't be."""
        if self._line.write_paused or self._head or not self.started or self.complete or self.disconnected:
            return False
        self._write(data, True)
        return True

    def _tell(self) -> None:
        self._news = True
        self._ring()

    def _ring(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- writing ---------------------------------------------------------------------------------

    def _write(self, body: bytes, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self._left, data = None, self._head
        elif self._chunked:
            data = b"%b%x\r\n%b\r\n" % (self._head, len(body), body) if body else self._head
            if not more:
                data += _LAST_CHUNK
        else:
            if self._left is not None:
                self._left -= len(body)
                if self._left < 0:
                    raise RuntimeError("the response is longer than its content-length")
            data = self._head + body if self._head else body
        self._head = b""
        if data:
            self._line.transport.write(data)
        if not more:
            if self._left:
                raise RuntimeError("the response is shorter than its content-length")
            self.complete = True
            self._ring()
            self._line.answered(self)

    def _compose(self, status: int, headers: Head) -> bytes:
        """The head. Raises RuntimeError when a header holds a line break or NUL."""
        closes = False
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in headers:
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection" and b"close" in value.lower():
                closes = True
                self.keep_alive = False
            lines.append(b"%b: %b\r\n" % (name, value))
        if not self.keep_alive and not closes:
            lines.append(b"connection: close\r\n")
        # HTTP/1.0 knows no chunks (RFC 9112, section 7): there a body of unknown length ends with the line.
        if self._left is None and status not in _NO_BODY and self.scope["http_version"] != "1.0":
            self._chunked = self.scope["method"] != "HEAD"
        if self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            raise RuntimeError("a response header holds a line break or NUL")
        return head + b"\r\n"

    async def _crashed(self, error: BaseException) -> None:
        """Says 500 while that can still be said, else cuts the line: never a clean end of half a response."""
        if not isinstance(error, asyncio.CancelledError):
            _log.error("a request failed outside of its own error handling", exc_info=error)
        if self.complete or self.disconnected:
            return
        if self.started and not self._head:
            self._line.transport.close()
            return
        self.started, self._left = False, None
        body = error_body(_OUR_FAULT)
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self.send(
            {"type": "http.response.start", "status": 500, "headers": [*head, (b"connection", b"close")]}
        )
        await self.send({"type": "http.response.body", "body": body})


_OUR_FAULT = ApiError(500, "Something went wrong here.", type="server_error", code="internal_error")
