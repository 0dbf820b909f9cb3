"""Which pages in a browser may call, and what they may read (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from proxy.errors import ApiError
from proxy.server.auth import is_loopback
from proxy.server.policy import AccessPolicy

Pairs = tuple[tuple[bytes, bytes], ...]

_READABLE = (
    "x-request-id",
    "x-kuro-model",
    "x-kuro-provider",
    "x-kuro-intent",
    "x-kuro-route",
    "x-kuro-attempts",
    "x-kuro-fallback",
    "x-kuro-overhead-ms",
    "x-kuro-cost-usd",
    "x-kuro-simulated",
    "x-should-retry",
    "retry-after",
    "retry-after-ms",
)
_EXPOSE = (b"access-control-expose-headers", ", ".join(_READABLE).encode())
_VARY = (b"vary", b"origin")
_MAX_AGE = b"600"
"""Seconds that a browser may go by a preflight's answer: changed origins hold after that."""


def cors_headers(access: AccessPolicy, headers: Mapping[str, str]) -> Pairs:
    """What the answer to a page's request says; () for callers that aren't pages, or when none may call.

    Keys travel in a header that the page itself sets, so that credentials (cookies) are never allowed.
    """
    if "origin" in headers and (allowed := _allowed(access, headers)):
        return (*allowed, _EXPOSE)
    return (_VARY,) if access.cors_origins and "*" not in access.cors_origins else ()


def check_page(access: AccessPolicy, headers: Mapping[str, str]) -> None:
    """Raises ApiError 403 if a page from elsewhere calls a proxy that asks nobody for a key.

    Browsers send some POSTs without asking first, so any page could spend on a proxy at 127.0.0.1; a name
    that was rebound to this address doesn't help it, for its origin still bears the name.
    """
    origin = headers.get("origin")
    if origin is None or access.keys or _allowed(access, headers):
        return
    host = urlsplit(origin).hostname if origin != "null" else None
    if host is None or not is_loopback(host):
        raise ApiError(
            403,
            f"Pages of {origin[:200]!r} may not call here: add the origin to `cors_origins` in proxy.yml.",
            type="permission_error",
            code="origin_not_allowed",
        )


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks if it may send what its page wants. It sends no key with that."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def preflight_headers(access: AccessPolicy, headers: Mapping[str, str]) -> Pairs:
    """What a preflight is told. A page from elsewhere is told nothing, which its browser takes for a no."""
    allowed = _allowed(access, headers)
    if not allowed:
        return (_VARY,)
    # SDKs in a page send a dozen headers of their own: those that it asks for are those that it may send.
    wanted = headers.get("access-control-request-headers", "authorization, content-type")
    return (
        *allowed,
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", wanted.encode("latin-1", "replace")),
        (b"access-control-max-age", _MAX_AGE),
    )


def _allowed(access: AccessPolicy, headers: Mapping[str, str]) -> Pairs:
    origin = headers.get("origin")
    if origin is None:
        return ()
    if "*" in access.cors_origins:
        return ((b"access-control-allow-origin", b"*"),)
    if origin in access.cors_origins:
        return ((b"access-control-allow-origin", origin.encode("latin-1", "replace")), _VARY)
    return ()
