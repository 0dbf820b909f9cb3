"""Stock httpx as a wire of ours, for what ours doesn't do: HTTP(S) proxies and HTTP/2.

Imported only where a provider wants it: httpx takes 7 MB and a tenth of a second.

httpcore (1.0.9) loses a connection, and its place in the pool, for good when a request is given up while
it waits for a connection or connects: after `max_connections` of these nothing is served any more. Nor does
it close idle connections before the next request comes. So places are given here, a request is given up only
once it is being sent, and whatever has been idle for long is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from importlib.util import find_spec
from math import inf
from typing import Any, cast
from urllib.request import getproxies, proxy_bypass

import httpx

from proxy.dispatch.pool import KEEP_ALIVE, LOCAL_ERRNOS, Counts
from proxy.dispatch.reply import Exchange
from proxy.dispatch.response import Sink
from proxy.dispatch.tls import tls_context
from proxy.dispatch.trouble import Http1Error, Trouble, Waits
from proxy.dispatch.upstream import Headers
from proxy.types import Provider

_TROUBLES: tuple[tuple[type[httpx.TransportError], Trouble, str], ...] = (
    (httpx.ConnectTimeout, Trouble.CONNECT_TIMEOUT, "not connected in time"),
    (httpx.PoolTimeout, Trouble.POOL_TIMEOUT, "no connection became free in time"),
    (httpx.WriteTimeout, Trouble.WRITE_TIMEOUT, "the request was not taken in time"),
    (httpx.ReadTimeout, Trouble.READ_TIMEOUT, "nothing came in time"),
    (httpx.ConnectError, Trouble.CONNECT, "could not connect"),
    (httpx.ProxyError, Trouble.CONNECT, "the HTTP proxy refused"),
    (httpx.LocalProtocolError, Trouble.BAD_REQUEST, "the request is not valid HTTP"),
    (httpx.NetworkError, Trouble.RESET, "the connection was reset"),
    (httpx.TransportError, Trouble.BAD_RESPONSE, "not a valid HTTP response"),
)
"""The first row that fits. httpx's own texts may name the address."""

_SILENT = "Server disconnected without sending a response."
"""What httpcore says for a stale connection and for a new one alike: taken for the more likely."""


class StockWire:
    """httpx's own transport, for what ours doesn't do. Its connections can't be told apart: see `counts`."""

    def __init__(
        self,
        url: httpx.URL,
        open_transport: Callable[[bool], httpx.AsyncBaseTransport],
        limit: int,
        keep: float,
    ) -> None:
        """`open_transport` is told whether connections are kept alive, which then are for `keep` seconds.

        `limit`: requests at once, so that httpcore, which may have as many connections, lets nobody wait.
        """
        self._url = url
        self._host = (b"host", url.netloc)
        self._open = open_transport
        self._keep = keep
        self._transports: dict[bool, httpx.AsyncBaseTransport] = {}
        """By whether connections are kept alive; opened when first wanted."""
        self._places = asyncio.Semaphore(limit)
        self._busy = 0
        self._retired = False
        self._rest: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def counts(self) -> Counts:
        """Exchanges in flight as `open`; httpx doesn't say what is idle."""
        return Counts(self._busy, 0, 0)

    async def post(
        self, target: bytes, headers: Headers, more: Headers, body: bytes, waits: Waits, fresh: bool
    ) -> Exchange:
        """Sends a POST and waits for the head of the response. Raises Http1Error."""
        timeout = {"pool": waits.pool, "connect": waits.connect, "write": waits.write, "read": waits.head}
        framed = (self._host, (b"accept-encoding", b"identity"), (b"content-length", b"%d" % len(body)))
        content = _Content(body)
        request = httpx.Request(
            "POST",
            self._url.copy_with(raw_path=target),
            headers=[*framed, *headers, *more],
            stream=content,
            extensions={"timeout": timeout},
        )
        await self._enter(waits.pool)
        asking = asyncio.ensure_future(self._transport(not fresh).handle_async_request(request))
        try:
            response = await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._behind(self._give_up(asking, content))
            raise
        except httpx.TransportError as error:
            self._leave()
            raise _trouble(error, begun=False) from error
        except BaseException:
            self._leave()
            raise
        answer = StockExchange(response, self._part, timeout)
        answer.patience = waits.read
        return answer

    def retire(self) -> bool:
        """httpx doesn't close idle connections alone: all go when the last exchange is over."""
        self._retired = True
        if not self._busy:
            self._behind(self._close_all())
        return self._busy > 0

    async def aclose(self) -> None:
        """Closes every connection."""
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._close_all()

    async def _enter(self, patience: float) -> None:
        """Waits for a place."""
        try:
            async with asyncio.timeout(patience if patience < inf else None):
                await self._places.acquire()
        except TimeoutError:
            raise Http1Error(Trouble.POOL_TIMEOUT, "no connection became free in time") from None
        self._busy += 1
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _leave(self) -> None:
        """An exchange has ended, and its connection is idle or closed."""
        self._busy -= 1
        self._places.release()
        if self._busy:
            return
        if self._retired:
            self._behind(self._close_all())
        else:
            loop = asyncio.get_running_loop()
            self._rest = loop.call_later(self._keep, lambda: self._behind(self._close_all()))

    async def _give_up(self, asking: asyncio.Future[httpx.Response], content: _Content) -> None:
        """Ends a request that nobody waits for, as soon as httpcore can bear it."""
        try:
            begun = asyncio.ensure_future(content.begun.wait())
            try:
                await asyncio.wait((asking, begun), return_when=asyncio.FIRST_COMPLETED)
            finally:
                begun.cancel()
                asking.cancel()
            (answer,) = await asyncio.gather(asking, return_exceptions=True)
            if isinstance(answer, httpx.Response):
                await _close(answer)
        finally:
            self._leave()

    async def _close_all(self) -> None:
        """What is wanted later opens another."""
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            await transport.aclose()

    def _transport(self, keep: bool) -> httpx.AsyncBaseTransport:
        transport = self._transports.get(keep)
        if transport is None:
            transport = self._transports[keep] = self._open(keep)
        return transport

    def _part(self, response: httpx.Response) -> asyncio.Task[None]:
        """Closes a response in a task of its own: the scope that wants it closed may be cancelled."""
        return self._behind(self._parting(response))

    async def _parting(self, response: httpx.Response) -> None:
        try:
            await _close(response)
        finally:
            self._leave()

    def _behind(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        closing = asyncio.ensure_future(work)
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing


class _Content(httpx.AsyncByteStream):
    """A request's body, which says when httpcore begins to send it: it is connected then."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.begun = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun.set()
        yield self._body


class StockExchange:
    """A response of stock httpx, as ours look."""

    def __init__(
        self,
        response: httpx.Response,
        part: Callable[[httpx.Response], asyncio.Task[None]],
        timeout: dict[str, float],
    ) -> None:
        self.status = response.status_code
        self.headers = [(name.lower(), value) for name, value in response.headers.raw]
        self._response = response
        self._parts = cast(httpx.AsyncByteStream, response.stream).__aiter__()
        self._part = part
        self._timeout = timeout
        self._closed = False

    @property
    def patience(self) -> float:
        """Seconds that each wait may take."""
        return self._timeout["read"]

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._timeout["read"] = seconds  # httpcore looks it up again for each read of the body

    def rest(self) -> bytes | None:
        """Only `take` can tell."""
        return None

    async def take(self) -> bytes:
        """The next piece; none at the end. Raises Http1Error."""
        try:
            async for data in self._parts:
                if data:
                    return data
        except httpx.TransportError as error:
            self.abort()
            raise _trouble(error, begun=True) from error
        if not self._closed:
            self._closed = True
            await asyncio.shield(self._part(self._response))  # The connection can serve the next request.
        return b""

    async def pour(self, sink: Sink) -> None:
        """It can't: whoever wants more takes it."""

    def abort(self) -> None:
        """Closes it in the background: httpx can't without waiting."""
        if not self._closed:
            self._closed = True
            self._part(self._response)


async def _close(response: httpx.Response) -> None:
    # What goes wrong while closing concerns nobody any more.
    with suppress(httpx.TransportError):
        await cast(httpx.AsyncByteStream, response.stream).aclose()


def open_stock(provider: Provider, keep_alive: float = KEEP_ALIVE) -> StockWire:
    """httpx's way to a provider. Raises ValueError for an impossible URL."""
    try:
        url = httpx.URL(provider.base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"providers.{provider.name}.base_url: {error}") from None
    return StockWire(url, _stock(provider, url, keep_alive), provider.max_connections, keep_alive)


def _stock(
    provider: Provider, url: httpx.URL, keep_alive: float
) -> Callable[[bool], httpx.AsyncBaseTransport]:
    """How to open httpx's transport for a provider: its proxy is the environment's, HTTP/2 if it can."""
    proxies = {} if proxy_bypass(url.host) else getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    limit = provider.max_connections

    def open_transport(keep: bool) -> httpx.AsyncBaseTransport:
        return httpx.AsyncHTTPTransport(
            verify=tls_context(provider.verify),
            http1=True,
            http2=find_spec("h2") is not None,
            proxy=proxy,
            limits=httpx.Limits(
                max_connections=limit,
                max_keepalive_connections=limit if keep else 0,
                keepalive_expiry=keep_alive,
            ),
        )

    return open_transport


def _trouble(error: httpx.TransportError, *, begun: bool) -> Http1Error:
    if str(error) == _SILENT:
        return Http1Error(Trouble.STALE, "the connection was closed without a response")
    if isinstance(error, httpx.ConnectError) and _errnos(error) & LOCAL_ERRNOS:
        return Http1Error(Trouble.LOCAL, "no connection could be made")
    kind, text = next((kind, text) for row, kind, text in _TROUBLES if isinstance(error, row))
    if kind is Trouble.RESET and not begun:
        return Http1Error(Trouble.DISCONNECTED, "the connection was closed without a response")
    return Http1Error(kind, text)


def _errnos(error: BaseException | None) -> set[int]:
    """Of an exception and of those behind it."""
    found = set()
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            found.add(error.errno)
        error = error.__cause__ or error.__context__
    return found
