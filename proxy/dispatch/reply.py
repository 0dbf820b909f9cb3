"""An upstream's answer from its head on, whichever transport carries it: read whole, or as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from typing import Protocol

from proxy.dispatch.inflate import Inflate
from proxy.dispatch.response import Sink
from proxy.dispatch.trouble import Http1Error
from proxy.errors import UpstreamError
from proxy.types import Failure, FailureKind


class Exchange(Protocol):
    """What a transport gives: a head, and bytes to take."""

    patience: float
    """Seconds that each wait may take."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Lower-case names."""

    def rest(self) -> bytes | None:
        """The rest of the body, once it is known that all of it has come; else None: `take` it."""

    def take(self) -> Awaitable[bytes]:
        """All bytes that have come; none at the end. Raises Http1Error, and is closed then."""

    async def pour(self, sink: Sink) -> None:
        """Hands on whatever comes as it comes, until `sink` says no or all has come. Raises Http1Error."""

    def abort(self) -> None:
        """Closes the connection unless the body has come to its end. Idempotent, never waits."""


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
    """One answer: its body whole, or as it comes. Raises only UpstreamError."""

    __slots__ = ("_coding", "_exchange", "_inflate", "headers", "status")

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.status
        self.headers = Fields(exchange.headers)
        self._exchange = exchange
        self._coding = _coding(exchange.headers)
        self._inflate: Inflate | None = None

    @property
    def patience(self) -> float:
        """Seconds that each wait for more of it may take, from the next one on."""
        return self._exchange.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._exchange.patience = seconds

    async def read(self, limit: int) -> bytes:
        """The whole body, decoded; longer than `limit` bytes is a bad response."""
        # One buffer that grows: thousands of pieces would leave a heap full of holes behind.
        whole: bytes | bytearray = b""
        plain = self._coding is None
        while True:
            rest = self._exchange.rest() if plain else None
            data = await self.take() if rest is None else rest
            if len(whole) + len(data) > limit:
                self.abort()
                raise UpstreamError(Failure(FailureKind.BAD_RESPONSE, f"more than {limit} bytes of body"))
            if not whole:
                whole = data
            elif data:
                if isinstance(whole, bytes):
                    whole = bytearray(whole)
                whole += data
            if rest is not None or not data:
                return bytes(whole)

    def take(self) -> Awaitable[bytes]:
        """Everything that has come since the last time, decoded: never nothing before the end."""
        return self._exchange.take() if self._coding is None else self._unfold(self._coding)

    async def pour(self, sink: Sink) -> None:
        """The same, each piece handed to `sink` at once, until it says no or all has come: see `Response`."""
        if self._coding is None:
            await self._exchange.pour(sink)

    def abort(self) -> None:
        """Closes the connection, unless the body has come to its end: then it was given back. Idempotent."""
        self._exchange.abort()

    async def _unfold(self, coding: str) -> bytes:
        try:
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
        except Http1Error:
            self._exchange.abort()
            raise


def _coding(headers: list[tuple[bytes, bytes]]) -> str | None:
    """What the body is compressed with. Judged when it is read: the status may be all that is wanted."""
    for name, value in headers:
        if name == b"content-encoding":
            coding = value.decode("latin-1").strip().lower()
            return None if coding in ("identity", "") else coding
    return None
