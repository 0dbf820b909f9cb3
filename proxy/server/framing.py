"""What a request's head must be, beyond what the parser itself refuses, and how a refusal of it is told.

The parser (llhttp, strict) refuses doubled, odd or listed Content-Length, Content-Length beside
Transfer-Encoding, folded lines, bare CR, LF and NUL, and chunk sizes that are none. The rest of RFC 9112
that decides where a request ends, or whom it is for, is here.
"""

from __future__ import annotations

import re
from asyncio import BaseTransport
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from httptools import HttpParserCallbackError, HttpParserError, HttpParserInvalidURLError, parse_url

from proxy.errors import ApiError, retry_headers
from proxy.server.headers import request_id
from proxy.wire.reply import error_body

_ASGI = {"version": "3.0", "spec_version": "2.3"}

CLOSE = (("connection", "close"),)

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?").fullmatch
"""`uri-host [ ":" port ]` (RFC 9110, section 7.2); it may be empty."""

_TLS = b"\x16\x03"
"""How a TLS handshake begins."""


@lru_cache(maxsize=256)
def is_host(value: bytes) -> bool:
    """Whether it can stand in a Host header."""
    return _HOST(value.strip(b" \t")) is not None


def check_head(method: str, version: str, hosts: Sequence[bytes], codings: Sequence[bytes]) -> None:
    """The values of Host and of Transfer-Encoding, in lower case. Raises ApiError 400, 501, 505."""
    if version not in ("1.1", "1.0"):
        raise _bad("This server speaks HTTP/1.1.", "unsupported_http_version", status=505)
    if method == "CONNECT":
        raise _bad("This is no tunnel: CONNECT is not served.", "invalid_request_target")
    if len(hosts) != 1 and (hosts or version == "1.1"):
        raise _bad(f"The request needs one Host header, not {len(hosts)}.", "invalid_host", "host")
    if hosts and not is_host(hosts[0]):
        raise _bad("The Host header is not a host and a port.", "invalid_host", "host")
    if codings and version == "1.0":
        raise _bad("Transfer-Encoding is not for HTTP/1.0.", "invalid_framing", "transfer-encoding")
    if codings and (len(codings) > 1 or codings[0] != b"chunked"):
        message = "The only Transfer-Encoding that is read is `chunked`."
        raise _bad(message, "unsupported_transfer_encoding", "transfer-encoding", status=501)


def ends(transport: BaseTransport) -> dict[str, Any]:
    """What every scope of a connection says: who is at its two ends, and whether by TLS."""
    return {
        "scheme": "https" if transport.get_extra_info("ssl_object") else "http",
        "server": _address(transport.get_extra_info("sockname")),
        "client": _address(transport.get_extra_info("peername")),
    }


def _address(name: Any) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple | list) and len(name) >= 2 else None


def scope(
    method: str, url: bytes, version: str, headers: list[tuple[bytes, bytes]], both: Mapping[str, Any]
) -> dict[str, Any]:
    """A request's scope; `both` is what `ends` said. A whole URL is taken for its path (RFC 9112, 3.2.2).

    Raises ApiError 400, and what httptools raises for what is no URL.
    """
    parsed = parse_url(url)
    raw: bytes | None = parsed.path
    if raw is None or not raw.startswith(b"/"):
        raise wrong_target()
    path = raw.decode("ascii")
    return {
        **both,
        "type": "http",
        "asgi": _ASGI,
        "http_version": version,
        "method": method,
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw,
        "query_string": parsed.query or b"",
        "root_path": "",
        "headers": headers,
        "state": {},
    }


def unreadable(error: HttpParserError, begun: bytes) -> ApiError:
    """The parser's refusal: its reasons are constant texts. `begun` is how the read began."""
    if isinstance(error, HttpParserInvalidURLError | HttpParserCallbackError):
        return wrong_target()
    if begun.startswith(_TLS):
        return _bad("This port speaks plain HTTP, not TLS.", "invalid_http")
    return _bad(f"The request is not HTTP/1.1 that can be read: {str(error)[:100]}.", "invalid_http")


def wrong_target() -> ApiError:
    """What is asked for is no path."""
    return _bad("The request's target is not a path or a URL with one.", "invalid_request_target")


def too_large(head_bytes: int, url_bytes: int, limit: int) -> ApiError:
    """A head of at least so many bytes; 414 when most of it is the target (RFC 6585, RFC 9110)."""
    if url_bytes > head_bytes // 2:
        message = f"The request's target is longer than the {limit} bytes of a head."
        return _bad(message, "request_target_too_long", status=414)
    return _bad(f"The request's head is larger than {limit} bytes.", "headers_too_large", status=431)


def too_many(limit: int) -> ApiError:
    """More header lines than are read."""
    return _bad(f"The request has more than {limit} header lines.", "headers_too_large", status=431)


def too_eager() -> ApiError:
    """More pipelined requests than are kept."""
    return _bad("Too many requests of this connection wait for the one before.", "too_many_pipelined")


def padded(limit: int) -> ApiError:
    """A chunked body that brings nothing but extensions or trailers."""
    return _bad(f"The body brought {limit} bytes without content.", "invalid_framing")


def too_slow(what: str, seconds: float) -> ApiError:
    """`head` or `body` did not arrive in time."""
    return ApiError(
        408,
        f"The {what} did not arrive within {seconds:g} s.",
        type="timeout_error",
        code="request_timeout",
        headers=CLOSE,
    )


def crowded() -> ApiError:
    """As many connections as there may be, and every one of them is being answered."""
    return ApiError(
        503,
        "This proxy has as many connections as it may have.",
        type="server_error",
        code="proxy_overloaded",
        headers=(*CLOSE, *retry_headers(1.0)),
    )


def response(error: ApiError) -> bytes:
    """The refusal as it is written where no request was understood."""
    body = error_body(error)
    fields = [("x-request-id", request_id({})), *error.headers, ("content-type", "application/json")]
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields]).encode("latin-1")
    phrase = HTTPStatus(error.status).phrase.encode("ascii")
    return b"HTTP/1.1 %d %b\r\n%bcontent-length: %d\r\n\r\n%b" % (
        error.status, phrase, lines, len(body), body,
    )  # fmt: skip


def plain_head(method: bytes, url: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The same head without its offer to upgrade."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode("ascii"))]
    lines += [b"%b: %b" % field for field in headers if field[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])


def _bad(message: str, code: str, param: str | None = None, *, status: int = 400) -> ApiError:
    # Where this request ends is not known, or not wanted: the connection can't be used again.
    return ApiError(status, message, code=code, param=param, headers=CLOSE)
