"""Our pool behind httpx's seam: for anybody who holds an httpx.AsyncClient."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from math import inf
from time import monotonic

import httpx

from proxy.dispatch.pool import KEEP_ALIVE, Counts, Pool
from proxy.dispatch.response import Response
from proxy.dispatch.tls import PORTS, tls_context
from proxy.dispatch.trouble import Http1Error, Trouble, Waits
from proxy.dispatch.upstream import compose

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
