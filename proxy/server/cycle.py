"""One request and its response on a caller's connection: ASGI on one side, HTTP/1.1 on the other.

    receive()  the body as it comes, then `http.disconnect` when the caller is gone
    send()     head and first piece of body as one write; chunks where no length is said

Uvicorn's own cycle looks through every header with two regular expressions and writes head and body apart,
which costs a chat call more than its routing does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus

from uvicorn.protocols.http.flow_control import FlowControl

from proxy.errors import ApiError
from proxy.server.types import App, Head, Message, Scope
from proxy.wire.reply import error_body

_log = logging.getLogger("kuro.server")

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_NO_BODY = frozenset((204, 304))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class Cycle:
    """Made by the protocol when a request's head is complete; fed by it, and run as a task."""

    __slots__ = (
        "_chunked", "_expects_continue", "_flow", "_head", "_left", "_on_response", "_transport", "body",
        "disconnected", "keep_alive", "message_event", "more_body", "response_complete", "response_started",
        "scope",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        transport: asyncio.Transport,
        flow: FlowControl,
        on_response: Callable[[], None],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.scope = scope
        self._transport = transport
        self._flow = flow
        self._on_response = on_response
        self._expects_continue = expects_continue
        self._head = b""
        """Composed, not written yet: it goes with the first piece of body."""
        self._chunked = False
        self._left = 0
        """Bytes of the said length that are still to come."""
        # What the protocol reads and writes, by uvicorn's names.
        self.keep_alive = keep_alive
        self.message_event = asyncio.Event()
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False

    async def run_asgi(self, app: App) -> None:
        """The request's task: whatever the application does, the caller gets a response or a closed line."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            await self._crashed(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            if not self.response_complete and not self.disconnected:
                await self._crashed(RuntimeError("the application returned without a whole response"))
        finally:
            self._on_response = _nothing  # It holds the protocol, which holds this.

    async def receive(self) -> Message:
        """The next message of ASGI."""
        if self._expects_continue and not self._transport.is_closing():
            self._expects_continue = False
            self._transport.write(_CONTINUE)
        if not self.disconnected and not self.response_complete:
            self._flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """One message of ASGI. Waits while the caller takes too little; says nothing to the gone."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.body" and self.response_started and not self.response_complete:
            self._write(message.get("body", b""), message.get("more_body", False))
        elif message["type"] == "http.response.start" and not self.response_started:
            self._head = self._compose(message["status"], message.get("headers", ()))
            self.response_started = True
            self._expects_continue = False
        else:
            raise RuntimeError(f"{message['type']} was not to be sent now")

    def _write(self, body: bytes, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self._left, data = 0, self._head
        elif self._chunked:
            data = b"%b%x\r\n%b\r\n" % (self._head, len(body), body) if body else self._head
            if not more:
                data += _LAST_CHUNK
        else:
            self._left -= len(body)
            if self._left < 0:
                raise RuntimeError("the response is longer than its content-length")
            data = self._head + body if self._head else body
        self._head = b""
        if data:
            self._transport.write(data)
        if not more:
            self._end()

    def _end(self) -> None:
        if self._left:
            raise RuntimeError("the response is shorter than its content-length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self._transport.close()
        self._on_response()

    def _compose(self, status: int, headers: Head) -> bytes:
        """The head. Raises RuntimeError when a header holds a line break or NUL."""
        measured = closes = False
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in headers:
            if name == b"content-length":
                self._left = int(value)
                measured = True
            elif name == b"connection" and b"close" in value.lower():
                closes = True
                self.keep_alive = False
            lines.append(b"%b: %b\r\n" % (name, value))
        if not self.keep_alive and not closes:
            lines.append(b"connection: close\r\n")
        self._chunked = not measured and status not in _NO_BODY
        if self._chunked and self.scope["method"] != "HEAD":
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            raise RuntimeError("a response header holds a line break or NUL")
        return head + b"\r\n"

    async def _crashed(self, error: BaseException) -> None:
        """Says 500 while that can still be said, else cuts the line: never a clean end of half a response."""
        if not isinstance(error, asyncio.CancelledError):
            _log.error("a request failed outside of its own error handling", exc_info=error)
        if self.response_complete or self.disconnected:
            return
        if self.response_started and not self._head:
            self._transport.close()
            return
        self.response_started = False
        body = error_body(_OUR_FAULT)
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self.send(
            {"type": "http.response.start", "status": 500, "headers": [*head, (b"connection", b"close")]}
        )
        await self.send({"type": "http.response.body", "body": body})


_OUR_FAULT = ApiError(500, "Something went wrong here.", type="server_error", code="internal_error")


def _nothing() -> None: ...
