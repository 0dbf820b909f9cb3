"""Reads a request's body whole, within its limits of size and time."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.errors import ApiError, CallerLeftError
from proxy.gateway import Alarms
from proxy.server.policy import LimitPolicy
from proxy.server.types import Receive

_JSON = frozenset(("application/json", "text/json"))


def check_type(headers: Mapping[str, str]) -> None:
    """What is said of a body, before it is read. Raises ApiError 415 when it isn't plain JSON."""
    given = headers.get("content-type", "application/json")
    if given not in _JSON and not _is_json(given.lower().partition(";")[0].strip()):
        raise ApiError(
            415,
            f"The body must be JSON: send `content-type: application/json` instead of {given[:100]!r}.",
            code="unsupported_media_type",
        )
    coding = headers.get("content-encoding", "")
    if coding and coding.strip().lower() not in ("", "identity"):
        raise ApiError(
            415,
            f"A body with content-encoding {coding[:50]!r} is not read: send it as it is.",
            code="unsupported_content_encoding",
        )


def check_size(size: int, limits: LimitPolicy) -> None:
    """Raises ApiError 413 for a body of more bytes than are taken."""
    if size > limits.max_body_bytes:
        raise _too_large(limits)


async def read_body(receive: Receive, limits: LimitPolicy, alarms: Alarms) -> bytes:
    """The body as it comes. Raises ApiError (408 too slow, 413 too large) and CallerLeftError."""
    try:
        with alarms.limit(limits.body_timeout):
            return await _read(receive, limits)
    except TimeoutError:
        raise _too_slow(limits) from None


async def _read(receive: Receive, limits: LimitPolicy) -> bytes:
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeftError
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        check_size(size, limits)
        more = message.get("more_body", False)
    return b"".join(parts)


def _is_json(kind: str) -> bool:
    return kind in _JSON or kind.endswith("+json")


def _too_large(limits: LimitPolicy) -> ApiError:
    # The rest of the body is not read, so the connection can't be used again.
    return ApiError(
        413,
        f"The body is larger than {limits.max_body_bytes} bytes.",
        code="request_too_large",
        headers=(("connection", "close"),),
    )


def _too_slow(limits: LimitPolicy) -> ApiError:
    return ApiError(
        408,
        f"The body did not arrive within {limits.body_timeout:g} s.",
        type="timeout_error",
        code="request_timeout",
        headers=(("connection", "close"),),
    )
