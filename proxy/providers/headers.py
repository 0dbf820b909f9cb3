"""The headers that every upstream request has, whatever its dialect."""

from __future__ import annotations

from proxy import __version__
from proxy.types import Provider

Headers = tuple[tuple[bytes, bytes], ...]

_COMMON: Headers = (
    (b"content-type", b"application/json"),
    (b"user-agent", f"kuro-proxy/{__version__}".encode()),
    # Decompressing costs more than these few kilobytes, and would hold events back.
    (b"accept-encoding", b"identity"),
)
_ACCEPT: dict[bool, Headers] = {
    True: (*_COMMON, (b"accept", b"text/event-stream")),
    False: (*_COMMON, (b"accept", b"application/json")),
}


def request_headers(provider: Provider, stream: bool, *own: tuple[bytes, bytes]) -> Headers:
    """The common ones, the dialect's own, and over both the provider's configured ones."""
    headers = _ACCEPT[stream] + own
    if not provider.headers:
        return headers
    configured = {name.lower().encode(): value.encode() for name, value in provider.headers.items()}
    return tuple({**dict(headers), **configured}.items())
