"""An upstream's answer from its head on, whichever transport carries it: read whole, or as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Protocol

from proxy.dispatch.inflate import Inflate
from proxy.dispatch.trouble import Http1Error, Trouble
from proxy.errors import UpstreamError
from proxy.types import Failure, FailureKind

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


class Exchange(Protocol):
    """What a transport gives: a head, and bytes to take."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Lower-case names."""

    @property
    def ended(self) -> bool:
        """Known to have nothing left to take; False when only `take` can tell."""

    async def take(self) -> bytes:
        """All bytes that have come; none at the end. Raises Http1Error."""

    def abort(self) -> None:
        """Closes the connection unless the body has come to its end. Idempotent, never waits."""

    async def aclose(self) -> None:
        """The same, and waits until it is done."""


class Fields(Mapping[str, str]):
    """Response headers by lower-case name. Looked up where they are: most are never asked for."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs

    def __getitem__(self, name: str) -> str:
        """A field's value; several lines are one list (RFC 9110, section 5.3)."""
        wanted = name.encode("latin-1", "replace")
        values = [value for key, value in self._pairs if key == wanted]
        if not values:
            raise KeyError(name)
        return b", ".join(values).decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1") for name, _ in self._pairs))

    def __len__(self) -> int:
        return len({name for name, _ in self._pairs})


class Reply:
    """One answer. Iterating gives the body as it comes, decoded. Raises only UpstreamError."""

    __slots__ = ("_coding", "_exchange", "_inflate", "headers", "status")

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.status
        self.headers = Fields(exchange.headers)
        self._exchange = exchange
        self._coding = _coding(exchange.headers)
        self._inflate: Inflate | None = None

    async def read(self, limit: int) -> bytes:
        """The whole body, decoded; longer than `limit` bytes is a bad response."""
        parts = []
        size = 0
        while data := await self._step():
            size += len(data)
            if size > limit:
                self.abort()
                raise UpstreamError(Failure(FailureKind.BAD_RESPONSE, f"more than {limit} bytes of body"))
            parts.append(data)
            if self._coding is None and self._exchange.ended:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes: each step gives everything that has come since, never nothing."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = await self._step()
        if not data:
            raise StopAsyncIteration
        return data

    async def close(self) -> None:
        """Closes the connection, unless the body has come to its end: then it was given back. Idempotent."""
        await self._exchange.aclose()

    def abort(self) -> None:
        """The same without waiting, for scopes that were cancelled."""
        self._exchange.abort()

    async def _step(self) -> bytes:
        try:
            if self._coding is None:
                return await self._exchange.take()
            return await self._unfold(self._coding)
        except Http1Error as error:
            self._exchange.abort()
            raise UpstreamError(failure(error)) from None

    async def _unfold(self, coding: str) -> bytes:
        inflate = self._inflate
        if inflate is None:
            inflate = self._inflate = Inflate(coding)
        if data := inflate.pull():
            await asyncio.sleep(0)  # Nothing was waited for: limits may pass, and others have their turn.
            return data
        while not (data := inflate.pull()):
            raw = await self._exchange.take()
            if not raw:
                inflate.finish()
                return b""
            inflate.feed(raw)
        return data


def failure(error: Http1Error) -> Failure:
    """The trouble as the executor's data."""
    return Failure(FAILURES[error.kind], str(error)[:MESSAGE_LIMIT])


def _coding(headers: list[tuple[bytes, bytes]]) -> str | None:
    """What the body is compressed with. Judged when it is read: the status may be all that is wanted."""
    for name, value in headers:
        if name == b"content-encoding":
            coding = value.decode("latin-1").strip().lower()
            return None if coding in ("identity", "") else coding
    return None
