"""The way to one provider: an encoded request goes in, a Reply or an UpstreamError comes out.

Upstream.send --> Wire.post --+-- PoolWire    our own pool, no httpx on the way
                              +-- StockWire   httpx (stock.py): proxies, HTTP/2
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Protocol

from proxy.dispatch.pool import Counts, Pool
from proxy.dispatch.reply import Exchange, Reply
from proxy.dispatch.trouble import Http1Error, Trouble, Waits
from proxy.types import Timeouts, UpstreamRequest

Headers = tuple[tuple[bytes, bytes], ...]

SLACK = 0.2
"""Seconds beyond the time to first token that a head may take: both limits are kept by coarse tickers, and
the caller's, which knows what it was for, must pass first."""
_STARTS_LIMIT = 256
"""Heads that are remembered."""


class Wire(Protocol):
    """What carries a request: one of two transports."""

    @property
    def counts(self) -> Counts:
        """Its connections."""

    def post(
        self, target: bytes, headers: Headers, more: Headers, body: bytes, waits: Waits, fresh: bool
    ) -> Awaitable[Exchange]:
        """Sends a POST and waits for the head of the response. Raises Http1Error.

        `headers` are the same for many requests, `more` are this one's own.
        """

    def retire(self) -> bool:
        """Another takes its place: idle connections go now, the others when their exchanges are over.

        Whether any of those are left. Idempotent.
        """

    async def aclose(self) -> None:
        """Closes every connection."""


class Upstream:
    """One provider. Made once by `transport.open_upstream`, used by every call."""

    __slots__ = ("_prefix", "_suffix", "_targets", "_waits", "_wire")

    def __init__(self, wire: Wire, base: bytes = b"", query: bytes = b"") -> None:
        """`base` is the path that goes before each request's, `query` what follows it, without a `?`."""
        self._wire = wire
        self._prefix = base.rstrip(b"/")
        self._suffix = query
        self._targets: dict[str, bytes] = {}
        self._waits: dict[Timeouts, Waits] = {}
        """Both as they were made before: codecs have one or two paths, models a few sets of limits."""

    @property
    def connections(self) -> Counts:
        """Open, idle and waited-for connections, for metrics."""
        return self._wire.counts

    async def send(
        self, request: UpstreamRequest, timeouts: Timeouts, *, headers: Headers = (), fresh: bool = False
    ) -> Reply:
        """Posts a request and waits for the head of its answer.

        `timeouts.connect` bounds connecting and waiting for a free connection, `timeouts.idle` each read and
        a stalled write. The head may take as long as the first token may; that limit and the total are the
        caller's to keep. `headers` are appended. `fresh` demands a new connection. Raises UpstreamError.
        """
        waits = self._waits.get(timeouts) or self._wait(timeouts)
        target = self._targets.get(request.path) or self._target(request.path)
        return Reply(await self._wire.post(target, request.headers, headers, request.body, waits, fresh))

    def retire(self) -> bool:
        """Another takes its place: idle connections go now, the others when their exchanges are over.

        Whether any of those are left. Idempotent.
        """
        return self._wire.retire()

    async def aclose(self) -> None:
        """Closes every connection at once."""
        await self._wire.aclose()

    def _target(self, path: str) -> bytes:
        target = self._prefix + path.encode()
        if self._suffix:
            target += (b"&" if b"?" in target else b"?") + self._suffix
        self._targets[path] = target
        return target

    def _wait(self, timeouts: Timeouts) -> Waits:
        idle = timeouts.idle
        head = max(timeouts.first_token, idle) + SLACK
        waits = self._waits[timeouts] = Waits(timeouts.connect, timeouts.connect, idle, head, idle)
        return waits


class PoolWire:
    """Our own HTTP/1.1 client."""

    __slots__ = ("_fixed", "_pool", "_starts")

    def __init__(self, pool: Pool, host: bytes) -> None:
        """`host` is the Host header."""
        self._pool = pool
        self._fixed = ((b"host", host), (b"accept-encoding", b"identity"))
        self._starts: dict[tuple[bytes, Headers], bytes] = {}
        """Heads without their ends: all requests to a provider have one of a few."""

    @property
    def counts(self) -> Counts:
        """The pool's."""
        return self._pool.counts

    def post(
        self, target: bytes, headers: Headers, more: Headers, body: bytes, waits: Waits, fresh: bool
    ) -> Awaitable[Exchange]:
        """Sends a POST and waits for the head of the response. Raises Http1Error."""
        start = self._starts.get((target, headers)) or self._start(target, headers)
        if more:
            start += lines(more)
        head = b"%bcontent-length: %d\r\n\r\n" % (start, len(body))
        return self._pool.request(head, body, waits, fresh=fresh)

    def retire(self) -> bool:
        """The pool's."""
        return self._pool.retire()

    async def aclose(self) -> None:
        """Closes every connection at once."""
        await self._pool.aclose()

    def _start(self, target: bytes, headers: Headers) -> bytes:
        if len(self._starts) >= _STARTS_LIMIT:
            self._starts.clear()
        start = request_line(b"POST", target) + lines(self._fixed + headers)
        self._starts[target, headers] = start
        return start


def compose(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], length: int) -> bytes:
    """The head of a request with its blank line; the body's length is said here and nowhere else.

    Raises Http1Error when a part holds a line break or NUL: it would end up as a header of its own.
    """
    return b"%b%bcontent-length: %d\r\n\r\n" % (request_line(method, target), lines(headers), length)


def request_line(method: bytes, target: bytes) -> bytes:
    """The first line. Raises Http1Error as `compose` does."""
    if b" " in target:
        raise _unsound()
    return _sound([method + b" " + target + b" HTTP/1.1\r\n"])


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header lines, each with its end. Raises Http1Error as `compose` does."""
    return _sound([name + b": " + value + b"\r\n" for name, value in headers])


def _sound(parts: list[bytes]) -> bytes:
    whole = b"".join(parts)
    if whole.count(b"\n") != len(parts) or whole.count(b"\r") != len(parts) or b"\0" in whole:
        raise _unsound()
    return whole


def _unsound() -> Http1Error:
    return Http1Error(Trouble.BAD_REQUEST, "a header of the request holds a line break or NUL")
