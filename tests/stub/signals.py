"""What a test waits for instead of sleeping: flags and gates that work from any thread or loop.

Each has a coroutine (`wait`) and a blocking form (`block`), both bounded.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

from tests.stub.dialects import OPENAI, Dialect, Json

PATIENCE = 5.0
"""Seconds after which a wait is a failed test."""


class Flag:
    """Set once, from anywhere."""

    def __init__(self) -> None:
        self._future: Future[None] = Future()
        self._lock = threading.Lock()

    def set(self) -> None:
        with self._lock:
            if not self._future.done():
                self._future.set_result(None)

    def is_set(self) -> bool:
        return self._future.done()

    __bool__ = is_set

    async def wait(self, timeout: float | None = PATIENCE) -> None:
        """Raises TimeoutError after `timeout` seconds; None waits for ever."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._future.add_done_callback(lambda _: _tell(loop, waiter))
        async with asyncio.timeout(timeout):
            await waiter

    def block(self, timeout: float = PATIENCE) -> None:
        try:
            self._future.result(timeout)
        except FutureTimeout:
            raise TimeoutError(f"not within {timeout} s") from None


class Tally:
    """A number that only grows, and can be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: list[tuple[int, Flag]] = []
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.count += 1
            due = [flag for number, flag in self._waiting if number <= self.count]
            self._waiting = [pair for pair in self._waiting if pair[0] > self.count]
        for flag in due:
            flag.set()

    def reached(self, number: int) -> Flag:
        """A flag that is set as soon as the count is `number` or more."""
        flag = Flag()
        with self._lock:
            if self.count < number:
                self._waiting.append((number, flag))
                return flag
        flag.set()
        return flag


class Gate:
    """Holds requests until the test lets them through, in the order of their arrival."""

    def __init__(self) -> None:
        self.arrived = Tally()
        """Everyone who came to the gate, waiting or gone through."""
        self._lock = threading.Lock()
        self._queue: list[Flag] = []
        self._permits = 0
        self._open = False

    def release(self, number: int | None = None) -> None:
        """Lets `number` requests through, now or when they come; None opens the gate for good."""
        with self._lock:
            if number is None:
                self._open = True
                through, self._queue = self._queue, []
            else:
                through, self._queue = self._queue[:number], self._queue[number:]
                self._permits += number - len(through)
        for flag in through:
            flag.set()

    async def wait(self, number: int, timeout: float = PATIENCE) -> None:
        """Until so many requests have come to the gate in all."""
        await self.arrived.reached(number).wait(timeout)

    def block(self, number: int, timeout: float = PATIENCE) -> None:
        self.arrived.reached(number).block(timeout)

    async def passage(self) -> None:
        """The stub's side: waits to be let through."""
        flag = self._enter()
        self.arrived.add()
        try:
            await flag.wait(None)
        finally:
            self._leave(flag)

    def _enter(self) -> Flag:
        flag = Flag()
        with self._lock:
            if not self._open and not self._permits:
                self._queue.append(flag)
                return flag
            self._permits = max(0, self._permits - 1)
        flag.set()
        return flag

    def _leave(self, flag: Flag) -> None:
        """A request whose client left holds no place in the queue."""
        with self._lock:
            if flag in self._queue:
                self._queue.remove(flag)


@dataclass(frozen=True)
class Received:
    """One request as it came. Header names are as they were sent, in their order."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    json: Json
    """The parsed body; empty when it isn't a JSON object."""
    time: float
    """`time.monotonic` when the body was complete."""
    connection: int
    """Number of the connection that it came on, from one."""
    dialect: Dialect = OPENAI
    disconnected: Flag = field(default_factory=Flag)
    """Set when the client left before its answer was complete."""
    answered: Flag = field(default_factory=Flag)
    """Set when the whole answer was handed to the kernel."""

    @property
    def model(self) -> str:
        model = self.json.get("model")
        return model if isinstance(model, str) else ""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def _tell(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    """Resolves a waiter in its own loop, which may be gone by now."""
    done: Callable[[], None] = lambda: None if waiter.done() else waiter.set_result(None)  # noqa: E731
    try:
        loop.call_soon_threadsafe(done)
    except RuntimeError:
        return
