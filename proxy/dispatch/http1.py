"""HTTP/1.1 over one connection: writes a request, parses its response, says whether the connection lives on.

    idle --send--> waiting --head--> reading --complete--> idle | closed
                      |                 |
                      +------ fail -----+--> closed; the response's reader gets the Http1Error

RFC 9112 as a client reads it, strictly: what a proxy and an upstream could understand differently is refused.
A response keeps its own buffer, so the connection is free as soon as the last byte has come, whether or not
anybody has read it. Nothing here waits on a timer of its own: the pool ticks (`Connection.tick`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from select import POLLIN, poll
from typing import Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.dispatch.response import Response
from proxy.dispatch.trouble import Http1Error, Trouble, Waits

HEAD_LIMIT = 64 * 1024
"""Bytes that may come without a byte of body between them: head, 1xx, chunk sizes, trailers. Counted by
reads of up to SLICE."""
LINE_LIMIT = 16 * 1024
"""Bytes of one header line."""
FIELDS_LIMIT = 256
"""Header lines of one response."""
HIGH_WATER = 128 * 1024
"""Bytes of unread body at which the upstream is held back."""
SLICE = 16 * 1024
"""Bytes that the parser gets at once before the head is complete."""
SMALL_BODY = 64 * 1024
"""Up to this size a request is written as one piece: a copy is cheaper than a second write."""


class Owner(Protocol):
    """Who is told what becomes of a connection: the pool."""

    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float]

    def returned(self, connection: Connection) -> None:
        """The response is complete and the connection can be used again."""

    def lost(self, connection: Connection) -> None:
        """The connection is closed for good; its transport may linger for a moment."""

    def gone(self, connection: Connection) -> None:
        """The transport has ended, too."""


class Connection(asyncio.Protocol):
    """One connection, one response at a time. Closed exactly once, whoever calls for it."""

    __slots__ = (
        "_barren", "_fields", "_framing", "_last_read", "_left", "_left_since", "_lifetime", "_open_ended",
        "_parser", "_paused", "_poll", "_response", "_reusable", "_served", "_transport", "_waits",
        "_writing", "closed", "expires", "owner",
    )  # fmt: skip

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.closed = False
        self.expires = inf
        """When an idle connection is closed; `inf` while it is in use."""
        self._transport: Any = None
        self._parser: Any = HttpResponseParser(self)
        self._response: Response | None = None
        self._waits = Waits()
        self._served = False
        self._reusable = True
        self._lifetime = inf
        self._fields: list[tuple[bytes, bytes]] = []
        self._framing: list[tuple[bytes, bytes]] = []
        self._open_ended = False
        self._barren = 0
        self._last_read = 0
        self._paused = False
        self._writing = False
        self._left = 0
        self._left_since = 0.0

    # --- used by the pool ------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes, waits: Waits) -> Response:
        """Starts an exchange; the response is empty as yet. Never blocks: the transport buffers."""
        self._response = response = Response(self, waits.head, self.owner.loop, self.owner.clock)
        self._waits = waits
        self._fields = []
        self._framing = []
        self._barren = 0
        self._open_ended = False
        self.expires = inf
        if len(body) <= SMALL_BODY:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return response

    def rest(self, seconds: float, now: float) -> None:
        """Idle from now on, for `seconds` or for as long as the upstream said, less a margin."""
        self.expires = now + min(seconds, self._lifetime)

    def usable(self, now: float) -> bool:
        """An idle connection that has neither expired nor anything to read (an end, or bytes unasked)."""
        return not self.closed and now < self.expires and not self._poll.poll(0)

    def tick(self, now: float) -> None:
        """Looks at the clock for whoever waits on this connection."""
        response = self._response
        if response is None:
            if self.expires <= now:
                self.discard()
        elif self._writing and not response.status:
            self._tick_writing(now)
        elif response.deadline <= now:
            self.fail(Trouble.READ_TIMEOUT, f"nothing came for {response.patience:g} s")

    def put_off(self, seconds: float) -> None:
        """Whoever waits on it may wait for so much longer; an idle one isn't kept any longer."""
        self._left_since += seconds
        if self._response is not None:
            self._response.deadline += seconds

    def fail(self, kind: Trouble, message: str) -> None:
        """Closes the connection; whoever reads from it gets the error."""
        response, self._response = self._response, None
        self.discard()
        if response is not None:
            response.release(Http1Error(kind, message))

    def discard(self) -> None:
        """Closes the connection and gives its slot back, once."""
        if self.closed:
            return
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        self.owner.lost(self)

    def relax(self) -> None:
        """The buffer was emptied: the upstream may go on."""
        if self._paused and not self.closed:
            self._paused = False
            # It may be closing without having said so yet: a write that failed.
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _tick_writing(self, now: float) -> None:
        left = self._transport.get_write_buffer_size()
        if left != self._left:
            self._left = left
            self._left_since = now
        elif now - self._left_since >= self._waits.write:
            self.fail(Trouble.WRITE_TIMEOUT, f"the request was not taken for {self._waits.write:g} s")

    # --- called by the transport -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remembers the transport, and a poll of its socket for `usable`."""
        self._transport = transport
        self._poll = poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), POLLIN)

    def data_received(self, data: bytes) -> None:
        """Parses one read; the reader is woken once, afterwards."""
        response = self._response
        if response is None:
            self.discard()  # Bytes that nobody asked for: whose would the next ones be?
            return
        if len(data) > SLICE and not response.status:
            for start in range(0, len(data), SLICE):
                self._parse(response, data[start : start + SLICE])
        else:
            self._parse(response, data)
        if response.complete:
            self._finish(response)
        elif response.size > HIGH_WATER and not self._paused and not self.closed:
            self._paused = True
            self._transport.pause_reading()
        if response.status:
            response.wake()

    def eof_received(self) -> None:
        """The upstream won't say more; the transport closes itself when this returns."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The last call of all."""
        self._end(exc)
        self._parser = None  # It holds our methods: the cycle would keep both until a collection.
        self.owner.gone(self)

    def pause_writing(self) -> None:
        """The peer takes less than was written."""
        self._writing = True
        self._left = self._transport.get_write_buffer_size()
        self._left_since = self.owner.clock()

    def resume_writing(self) -> None:
        """Nearly all is written: the wait for the head begins."""
        self._writing = False
        response = self._response
        if response is not None and response.deadline != inf:
            response.deadline = self.owner.clock() + response.patience

    def _parse(self, response: Response, data: bytes) -> None:
        if self.closed:
            return
        before = response.size
        self._last_read = len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._reusable = False
            if not response.complete:
                self.fail(Trouble.BAD_RESPONSE, _reason(error))
            return
        if response.size != before:
            self._barren = 0
        elif not response.complete:
            self._barren += len(data)
            if self._barren > HEAD_LIMIT:
                self.fail(Trouble.BAD_RESPONSE, f"more than {HEAD_LIMIT} bytes of headers")

    def _finish(self, response: Response) -> None:
        """The response is complete: the connection goes back, unless anything speaks against it."""
        self._response = None
        self._served = True
        response.release()
        unsent = self._transport.get_write_buffer_size()
        if unsent or not self._reusable:
            self.discard()
            return
        self.relax()
        self.owner.returned(self)

    def _end(self, exc: Exception | None) -> None:
        response = self._response
        if response is None:
            self.discard()
        elif exc is None and self._open_ended:
            self._response = None
            self.discard()
            response.release()
        else:
            self.fail(*self._break(response, exc))

    def _break(self, response: Response, exc: Exception | None) -> tuple[Trouble, str]:
        if not response.status and not self._barren:
            kind = Trouble.STALE if self._served else Trouble.DISCONNECTED
            return kind, "the connection was closed without a response"
        if exc is not None:
            return Trouble.RESET, "the connection was reset in the middle of the response"
        return Trouble.TRUNCATED, "the connection was closed in the middle of the response"

    # --- called by the parser --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A response begins; a second one is garbage."""
        response = self._response
        assert response is not None  # nothing is parsed without one
        if response.complete:
            raise ValueError("bytes after the response")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer (those are dropped with the next request)."""
        name = name.lower()
        self._fields.append((name, value))
        if name in _FRAMING:
            self._framing.append((name, value))

    def on_headers_complete(self) -> None:
        """Judges the head and makes it the response's; an interim one is forgotten."""
        status = self._parser.get_status_code()
        fields, framing = self._fields, self._framing
        self._fields, self._framing = [], []
        if 100 <= status < 200 and status != 101:
            return
        if not 200 <= status <= 599:
            raise ValueError(f"status {status}")
        if len(fields) > FIELDS_LIMIT:
            raise ValueError(f"more than {FIELDS_LIMIT} header lines")
        if self._barren + self._last_read > LINE_LIMIT and _longest(fields) > LINE_LIMIT:
            raise ValueError(f"a header line of more than {LINE_LIMIT} bytes")
        self._judge(framing)
        response = self._response
        assert response is not None
        response.headers = fields
        response.status = status

    def on_body(self, body: bytes) -> None:
        """A piece of the body, freed from its chunks."""
        self._response.append(body)  # type: ignore[union-attr]  # nothing is parsed without one

    def on_message_complete(self) -> None:
        """The end of the response, or of an interim one."""
        response = self._response
        assert response is not None
        if response.status:
            response.complete = True
            # Asked now: once the parser has gone on to the next message it no longer knows.
            self._reusable = self._parser.should_keep_alive()

    def _judge(self, framing: list[tuple[bytes, bytes]]) -> None:
        """Where the body ends, and how long the upstream keeps an idle connection."""
        self._open_ended = True
        self._lifetime = inf
        codings = []
        for name, value in framing:
            if name == b"keep-alive":
                self._lifetime = _lifetime(value)
                continue
            self._open_ended = False
            if name == b"transfer-encoding":
                codings.append(value.strip().lower())
        if codings and codings != [b"chunked"]:
            raise ValueError("a transfer-encoding other than chunked")


_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"keep-alive"))


def _reason(error: Exception) -> str:
    """What the parser, or one of our callbacks under it, had against the bytes."""
    cause = error.__context__
    return f"not a valid HTTP response: {cause if isinstance(cause, ValueError) else error}"


def _longest(fields: list[tuple[bytes, bytes]]) -> int:
    return max((len(name) + len(value) for name, value in fields), default=0)


def _lifetime(value: bytes) -> float:
    """Seconds of `Keep-Alive: timeout=N`, less a margin for bytes on their way; `inf` when it doesn't say."""
    for parameter in value.split(b","):
        name, _, number = parameter.strip().partition(b"=")
        number = number.strip()
        if name.strip().lower() == b"timeout" and number.isdigit() and len(number) < 10:
            return int(number) - min(1.0, int(number) / 2)
    return inf
