"""One response while it comes: its connection fills it, one reader empties it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Protocol

from proxy.dispatch.trouble import Http1Error, Trouble

Sink = Callable[[bytes], bool]
"""Takes a piece of the body; False: that was the last one that it takes."""


class Source(Protocol):
    """Where a response comes from, until it is complete: a connection."""

    def relax(self) -> None:
        """The buffer was emptied: the upstream may go on."""

    def fail(self, kind: Trouble, message: str) -> None:
        """Closes the connection; whoever reads from it gets the error."""


class Response:
    """A response from its head on, filled by its connection and emptied by one reader."""

    __slots__ = (
        "_clock", "_loop", "_parts", "_sink", "_source", "_waiter", "complete", "deadline", "error",
        "headers", "patience", "size", "status",
    )  # fmt: skip

    def __init__(
        self,
        source: Source,
        patience: float,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
    ) -> None:
        self.status = 0
        """0 until the head is complete."""
        self.headers: list[tuple[bytes, bytes]] = []
        """Lower-case names, in the order in which they came."""
        self.complete = False
        """Everything has come; there may be bytes left to read."""
        self.size = 0
        """Bytes waiting to be read."""
        self.patience = patience
        """Seconds that each wait may take."""
        self.deadline = inf
        """When the present wait ends; `inf` while nobody waits."""
        self._parts: list[bytes] = []
        self._source: Source | None = source
        self._loop = loop
        self._clock = clock
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self.error: Http1Error | None = None
        """What went wrong; bytes that came before it can still be taken."""

    @property
    def ended(self) -> bool:
        """Everything has come and was taken."""
        return self.complete and not self._parts

    async def take(self) -> bytes:
        """All bytes of the body that have come and weren't taken yet, at least one; none at the end.

        Raises Http1Error once the bytes before the trouble have been taken.
        """
        while not self._parts:
            if self.complete:
                return b""
            await self.wait()
        parts = self._parts
        self._parts = []
        self.size = 0
        if self._source is not None:
            self._source.relax()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def pour(self, sink: Sink) -> None:
        """Hands on whatever comes, the moment that it comes and without waking anybody, until `sink` says no.

        Returns then, or when all has come: what follows is had by `take`. Each wait may take `patience`.
        Raises Http1Error as `take` does.
        """
        if self._parts and not sink(await self.take()):
            return
        self._sink = sink
        try:
            while self._sink is not None and not self.complete:
                await self.wait()
        finally:
            self._sink = None

    def rest(self) -> bytes | None:
        """The rest of the body when all of it has come, else None."""
        if not self.complete:
            return None
        parts, self._parts, self.size = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def wait(self) -> None:
        """Until something happens. Raises Http1Error when that is, or was, trouble."""
        try:
            await self.news()
        finally:
            self._waiter = None
            self.deadline = inf
        if self.error is not None:
            raise self.error

    def news(self) -> asyncio.Future[None]:
        """To be awaited, by one reader at a time: something has happened, maybe trouble: look at `error`."""
        self._waiter = waiter = self._loop.create_future()
        if self.error is not None:
            waiter.set_result(None)
        else:
            self.deadline = self._clock() + self.patience
        return waiter

    def abort(self) -> None:
        """Closes the connection unless the response is complete. Idempotent."""
        if self._source is not None:
            self._source.fail(Trouble.CLOSED, "the response was not read to its end")

    # What the connection does with it.

    def append(self, data: bytes) -> None:
        """More of the body."""
        self._parts.append(data)
        self.size += len(data)

    def wake(self) -> None:
        """The reader looks again; where it pours, its sink gets what has come."""
        if self._sink is not None and self.error is None:
            if self._parts:
                self.deadline = self._clock() + self.patience
                data, self._parts, self.size = b"".join(self._parts), [], 0
                if self._source is not None:
                    self._source.relax()
                if not self._sink(data):
                    self._sink = None
            if self._sink is not None and not self.complete:
                return
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            self.deadline = inf
            if not waiter.done():  # its reader was cancelled
                waiter.set_result(None)

    def release(self, error: Http1Error | None = None) -> None:
        """The connection is done with it: complete, or broken by `error`."""
        self._source = None
        self.complete = error is None
        self.error = error
        self.wake()
