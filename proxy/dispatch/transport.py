"""The way to a provider, by its `transport`.

http1 --> Upstream(PoolWire)                              our own pool
httpx --> Upstream(StockWire(httpx.AsyncHTTPTransport))   see `stock`
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from urllib.parse import SplitResult, quote, urlsplit

from proxy.dispatch.pool import Pool
from proxy.dispatch.tls import PORTS, tls_context
from proxy.dispatch.upstream import PoolWire, Upstream
from proxy.types import Provider

_SAFE = "/%:@!$&'()*+,;=~-._"
"""What stands in a path as it is (RFC 3986, section 3.3), escapes that are there already included."""


def open_upstream(provider: Provider, clock: Callable[[], float] = monotonic) -> Upstream:
    """Makes no call. Raises ValueError for an impossible URL."""
    url, host = _parse(provider)
    path, query = quote(url.path, safe=_SAFE).encode(), quote(url.query, safe=_SAFE + "?").encode()
    if provider.transport == "httpx":
        from proxy.dispatch.stock import open_stock

        return Upstream(open_stock(provider), path, query)
    port = url.port or PORTS[url.scheme]
    pool = Pool(
        host,
        port,
        tls=tls_context(provider.verify) if url.scheme == "https" else None,
        limit=provider.max_connections,
        clock=clock,
    )
    shown = f"[{host}]" if ":" in host else host
    named = shown if port == PORTS[url.scheme] else f"{shown}:{port}"
    return Upstream(PoolWire(pool, named.encode()), path, query)


def _parse(provider: Provider) -> tuple[SplitResult, str]:
    """The URL, and its host as DNS knows it."""
    where = f"providers.{provider.name}.base_url"
    try:
        url = urlsplit(provider.base_url)
        host = url.hostname or ""
        ascii_host = host if host.isascii() else host.encode("idna").decode()
        sound = url.scheme in PORTS and bool(host) and not any(c.isspace() for c in host)
        url.port  # noqa: B018  # raises for a port that is none
    except ValueError as error:  # UnicodeError is one
        raise ValueError(f"{where}: {error}") from None
    if not sound:
        raise ValueError(f"{where}: expected http://host or https://host")
    return url, ascii_host
