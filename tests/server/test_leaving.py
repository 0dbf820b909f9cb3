"""A caller that leaves cancels whoever works for it; one that stays is not noticed at all."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from proxy.server.leaving import Leaving


class Caller:
    """`receive()` as uvicorn writes it: an event, then the message of the moment."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.messages: list[MutableMapping[str, Any]] = []
        self.waiting = 0

    def say(self, kind: str) -> None:
        self.messages.append({"type": kind})
        self.event.set()

    async def receive(self) -> MutableMapping[str, Any]:
        self.waiting += 1
        try:
            await self.event.wait()
        finally:
            self.waiting -= 1
        message = self.messages.pop(0)
        if not self.messages:
            self.event.clear()
        return message


async def test_leaving_cancels_the_work() -> None:
    caller, began = Caller(), asyncio.Event()
    leaving = Leaving(caller.receive)

    async def work() -> None:
        leaving.watch()
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await began.wait()
    assert not leaving.left
    caller.say("http.disconnect")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leaving.left


async def test_a_message_that_is_no_leaving_is_passed_over() -> None:
    caller, began = Caller(), asyncio.Event()
    leaving = Leaving(caller.receive)

    async def work() -> None:
        leaving.watch()
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await began.wait()
    caller.say("http.request")
    caller.say("http.disconnect")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_stop_nothing_waits_and_nothing_is_cancelled() -> None:
    caller = Caller()
    leaving = Leaving(caller.receive)
    leaving.watch()
    assert caller.waiting == 1
    leaving.stop()
    assert caller.waiting == 0
    caller.say("http.disconnect")
    await asyncio.sleep(0)
    assert not leaving.left


async def test_stop_may_be_called_twice_and_without_a_watch() -> None:
    leaving = Leaving(Caller().receive)
    leaving.stop()
    leaving.watch()
    leaving.stop()
    leaving.stop()


async def test_a_server_that_only_yields_is_stepped_too() -> None:
    turns = 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal turns
        for _ in range(3):
            turns += 1
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    leaving = Leaving(receive)
    leaving.watch()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    assert (leaving.left, turns) == (True, 3)
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
