"""The only door to httpx: our pool offered as a transport of httpx, and stock httpx as a wire of ours.

HTTP1Transport   our pool for anybody who holds an httpx.AsyncClient
StockWire        httpx.AsyncHTTPTransport for a provider, for HTTP(S) proxies and HTTP/2

Imported only where a provider wants it: httpx takes 7 MB and a tenth of a second.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from importlib.util import find_spec
from math import inf
from time import monotonic
from typing import Any, cast
from urllib.request import getproxies, proxy_bypass

import httpx

from proxy.dispatch.pool import KEEP_ALIVE, LOCAL_ERRNOS, Counts, Pool
from proxy.dispatch.reply import Exchange
from proxy.dispatch.response import Response, Sink
from proxy.dispatch.tls import PORTS, tls_context
from proxy.dispatch.trouble import Http1Error, Trouble, Waits
from proxy.dispatch.upstream import Headers, compose
from proxy.types import Provider

# --- our pool as a transport of httpx ------------------------------------------------------------


EXCEPTIONS: dict[Trouble, type[httpx.TransportError]] = {
    Trouble.CONNECT: httpx.ConnectError,
    Trouble.CONNECT_TIMEOUT: httpx.ConnectTimeout,
    Trouble.LOCAL: httpx.ConnectError,
    Trouble.POOL_TIMEOUT: httpx.PoolTimeout,
    Trouble.WRITE_TIMEOUT: httpx.WriteTimeout,
    Trouble.READ_TIMEOUT: httpx.ReadTimeout,
    Trouble.DISCONNECTED: httpx.RemoteProtocolError,
    Trouble.STALE: httpx.RemoteProtocolError,
    Trouble.TRUNCATED: httpx.RemoteProtocolError,
    Trouble.RESET: httpx.ReadError,
    Trouble.BAD_RESPONSE: httpx.RemoteProtocolError,
    Trouble.BAD_REQUEST: httpx.LocalProtocolError,
    Trouble.CLOSED: httpx.ReadError,
}
"""Every kind has a row (a test holds this)."""

_OURS = frozenset((b"content-length", b"transfer-encoding", b"connection"))
"""Headers that say how a message is framed: whoever frames it writes them."""


class HTTP1Transport(httpx.AsyncBaseTransport):
    """The pool behind httpx's seam, a pool per origin. A request's body is gathered before it is sent.

    Neither HEAD nor CONNECT: responses to these end elsewhere than their headers say.
    """

    def __init__(
        self,
        *,
        verify: bool | str | ssl.SSLContext = True,
        limit: int = 512,
        keep_alive: float = KEEP_ALIVE,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._verify = verify
        self._limit = limit
        self._keep_alive = keep_alive
        self._clock = clock
        self._pools: dict[tuple[str, str, int | None], Pool] = {}

    @property
    def counts(self) -> Counts:
        """Over all origins."""
        every = [pool.counts for pool in self._pools.values()]
        return Counts(
            sum(each.open for each in every),
            sum(each.idle for each in every),
            sum(each.waiting for each in every),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Honours `extensions["timeout"]`; raises httpx's exceptions."""
        url = request.url
        if request.method in ("HEAD", "CONNECT"):
            raise httpx.LocalProtocolError(f"{request.method} is not spoken here", request=request)
        body = await _gather(request.stream)
        headers = [header for header in request.headers.raw if header[0].lower() not in _OURS]
        try:
            head = compose(request.method.encode("ascii"), url.raw_path, headers, len(body))
            response = await self._pool(url).request(head, body, _waits(request))
        except Http1Error as error:
            raise EXCEPTIONS[error.kind](str(error), request=request) from error
        return httpx.Response(
            response.status, headers=response.headers, stream=BodyStream(response), request=request
        )

    async def aclose(self) -> None:
        """Closes every connection at once."""
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, url: httpx.URL) -> Pool:
        origin = (url.scheme, url.host, url.port)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = self._open(url)
        return pool

    def _open(self, url: httpx.URL) -> Pool:
        if url.scheme not in PORTS:
            raise httpx.UnsupportedProtocol(f"expected http or https, not {url.scheme!r}")
        verify = self._verify
        context = verify if isinstance(verify, ssl.SSLContext) else tls_context(verify)
        return Pool(
            url.raw_host.decode("ascii"),
            url.port or PORTS[url.scheme],
            tls=context if url.scheme == "https" else None,
            limit=self._limit,
            keep_alive=self._keep_alive,
            clock=self._clock,
        )


class BodyStream(httpx.AsyncByteStream):
    """The body as httpx reads it, still compressed if it was: httpx decodes by itself."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Everything that has come, per step."""
        while data := await self.take():
            yield data

    async def take(self) -> bytes:
        """What has come since the last one, at least one byte; none at the end."""
        try:
            return await self._response.take()
        except Http1Error as error:
            raise EXCEPTIONS[error.kind](str(error)) from error

    async def read(self) -> bytes:
        """The whole body, out of the buffer when it is there already."""
        data = await self.take()
        if self._response.ended:
            return data
        parts = [data]
        while data := await self.take():
            parts.append(data)
        return b"".join(parts)

    async def aclose(self) -> None:
        """Closes the connection unless the body has come to its end."""
        self._response.abort()


async def _gather(stream: httpx.SyncByteStream | httpx.AsyncByteStream) -> bytes:
    if isinstance(stream, httpx.SyncByteStream):
        return b"".join(stream)
    return b"".join([part async for part in stream])


def _waits(request: httpx.Request) -> Waits:
    given = request.extensions.get("timeout", {})
    pool, connect, write, read = (
        inf if given.get(name) is None else given[name] for name in ("pool", "connect", "write", "read")
    )
    return Waits(pool, connect, write, read, read)


# --- stock httpx as a wire of ours ---------------------------------------------------------------


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

    def __init__(self, url: httpx.URL, open_transport: Callable[[bool], httpx.AsyncBaseTransport]) -> None:
        """`open_transport` is told whether connections are kept alive."""
        self._url = url
        self._host = (b"host", url.netloc)
        self._open = open_transport
        self._kept = open_transport(True)
        self._fresh: httpx.AsyncBaseTransport | None = None
        self._busy = 0
        self._retired = False
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def counts(self) -> Counts:
        """Exchanges in flight as `open`; httpx doesn't say what is idle or waiting."""
        return Counts(self._busy, 0, 0)

    async def post(
        self, target: bytes, headers: Headers, more: Headers, body: bytes, waits: Waits, fresh: bool
    ) -> Exchange:
        """Sends a POST and waits for the head of the response. Raises Http1Error."""
        timeout = {"pool": waits.pool, "connect": waits.connect, "write": waits.write, "read": waits.head}
        request = httpx.Request(
            "POST",
            self._url.copy_with(raw_path=target),
            headers=[self._host, (b"accept-encoding", b"identity"), *headers, *more],
            content=body,
            extensions={"timeout": timeout},
        )
        self._busy += 1
        try:
            response = await self._transport(fresh).handle_async_request(request)
        except httpx.TransportError as error:
            self._over()
            raise _trouble(error, begun=False) from error
        except BaseException:
            self._over()
            raise
        timeout["read"] = waits.read  # httpcore looks it up again for each read of the body.
        return StockExchange(response, self._part)

    def retire(self) -> bool:
        """httpx doesn't close idle connections alone: all go when the last exchange is over."""
        self._retired = True
        self._busy += 1
        self._over()
        return self._busy > 0

    async def aclose(self) -> None:
        """Closes every connection."""
        await asyncio.gather(*self._closing)
        await self._close_all()

    async def _close_all(self) -> None:
        for transport in (self._kept, self._fresh):
            if transport is not None:
                await transport.aclose()

    def _transport(self, fresh: bool) -> httpx.AsyncBaseTransport:
        if not fresh:
            return self._kept
        if self._fresh is None:
            self._fresh = self._open(False)
        return self._fresh

    def _part(self, response: httpx.Response) -> asyncio.Task[None]:
        """Closes a response in a task of its own: the scope that wants it closed may be cancelled."""
        closing = self._behind(_close(response))
        self._over()
        return closing

    def _over(self) -> None:
        """An exchange has ended."""
        self._busy -= 1
        if self._retired and not self._busy:
            self._behind(self._close_all())

    def _behind(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        closing = asyncio.ensure_future(work)
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing


class StockExchange:
    """A response of stock httpx, as ours look."""

    def __init__(
        self, response: httpx.Response, part: Callable[[httpx.Response], asyncio.Task[None]]
    ) -> None:
        self.status = response.status_code
        self.headers = [(name.lower(), value) for name, value in response.headers.raw]
        self._response = response
        self._parts = cast(httpx.AsyncByteStream, response.stream).__aiter__()
        self._part = part
        self._closed = False

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


def open_stock(provider: Provider) -> StockWire:
    """httpx's way to a provider. Raises ValueError for an impossible URL."""
    try:
        url = httpx.URL(provider.base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"providers.{provider.name}.base_url: {error}") from None
    return StockWire(url, _stock(provider, url))


def _stock(provider: Provider, url: httpx.URL) -> Callable[[bool], httpx.AsyncBaseTransport]:
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
                keepalive_expiry=KEEP_ALIVE,
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
