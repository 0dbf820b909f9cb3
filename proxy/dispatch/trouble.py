"""What can go wrong between a request and the last byte of its response, and how long each wait may be."""

from __future__ import annotations

from enum import StrEnum
from math import inf

from msgspec import Struct

from proxy.errors import UpstreamError
from proxy.types import Failure, FailureKind


class Trouble(StrEnum):
    """What can go wrong between asking for a connection and the last byte."""

    CONNECT = "connect"
    """DNS, refused, unreachable, TLS."""
    CONNECT_TIMEOUT = "connect_timeout"
    LOCAL = "local"
    """No file descriptor, port or buffer left on this machine."""
    POOL_TIMEOUT = "pool_timeout"
    WRITE_TIMEOUT = "write_timeout"
    READ_TIMEOUT = "read_timeout"
    DISCONNECTED = "disconnected"
    """Closed before any byte of the response, on a connection that had served nothing before."""
    STALE = "stale"
    """The same on a connection that had: most likely it was closed while idle."""
    TRUNCATED = "truncated"
    """Closed in the middle of a response."""
    RESET = "reset"
    """Reset in the middle of a response."""
    BAD_RESPONSE = "bad_response"
    """Not HTTP/1.1, or more of it than is allowed."""
    BAD_REQUEST = "bad_request"
    """A head that can't be written: a line break or NUL inside it."""
    CLOSED = "closed"
    """Closed by ourselves while in use."""


FAILURES: dict[Trouble, FailureKind] = {
    Trouble.CONNECT: FailureKind.CONNECT,
    Trouble.CONNECT_TIMEOUT: FailureKind.CONNECT_TIMEOUT,
    Trouble.LOCAL: FailureKind.LOCAL_LIMIT,
    Trouble.POOL_TIMEOUT: FailureKind.LOCAL_LIMIT,
    Trouble.WRITE_TIMEOUT: FailureKind.IDLE_TIMEOUT,
    Trouble.READ_TIMEOUT: FailureKind.IDLE_TIMEOUT,
    Trouble.DISCONNECTED: FailureKind.DISCONNECTED,
    Trouble.STALE: FailureKind.STALE_CONNECTION,
    Trouble.TRUNCATED: FailureKind.BAD_RESPONSE,
    Trouble.RESET: FailureKind.BAD_RESPONSE,
    Trouble.BAD_RESPONSE: FailureKind.BAD_RESPONSE,
    Trouble.BAD_REQUEST: FailureKind.BAD_REQUEST,
    Trouble.CLOSED: FailureKind.LOCAL_LIMIT,
}
"""What each trouble means to the executor. Every kind has a row (a test holds this)."""

MESSAGE_LIMIT = 200
"""Characters of a failure's message."""


class Http1Error(UpstreamError):
    """A request that got no complete response. The text is short and names no host."""

    def __init__(self, kind: Trouble, message: str) -> None:
        super().__init__(Failure(FAILURES[kind], message[:MESSAGE_LIMIT]))
        self.args = (message,)
        self.kind = kind


class Waits(Struct, frozen=True):
    """Seconds to wait, `math.inf` for ever: for a free connection, for a new one, for the peer to take more
    of the request, for the head of the response (from when the request was written), for more of the body."""

    pool: float = inf
    connect: float = inf
    write: float = inf
    head: float = inf
    read: float = inf
