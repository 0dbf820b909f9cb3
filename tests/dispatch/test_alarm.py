"""Limits on waits: kept late rather than early, and never mistaken for somebody else's cancel."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from proxy.dispatch.alarm import TICK, Alarms


class Hands:
    """A clock that is moved by hand; the ticker still runs in real time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_wait_past_its_limit_is_a_timeout() -> None:
    alarms, began = Alarms(monotonic), monotonic()
    with pytest.raises(TimeoutError), alarms.limit(0.01):
        await asyncio.Event().wait()
    assert monotonic() - began >= 0.01
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_wait_within_its_limit_is_left_alone() -> None:
    clock = Hands()
    alarms = Alarms(clock)
    with alarms.limit(1.0):
        await asyncio.sleep(0)
    clock.now = 2.0
    await asyncio.sleep(3 * TICK)  # The ticker, which has nothing to ring for.
    assert not alarms._set
    assert not alarms._ticking


async def test_limits_are_rung_for_one_by_one() -> None:
    clock = Hands()
    alarms = Alarms(clock)
    ended: list[float] = []

    async def wait(seconds: float) -> None:
        with pytest.raises(TimeoutError), alarms.limit(seconds):
            await asyncio.Event().wait()
        ended.append(seconds)

    tasks = {seconds: asyncio.create_task(wait(seconds)) for seconds in (3.0, 1.0, 2.0)}
    await asyncio.sleep(0)
    for clock.now in (1.0, 2.0, 3.0):
        await asyncio.wait_for(tasks[clock.now], 5)
    assert ended == [1.0, 2.0, 3.0]


async def test_somebody_elses_cancel_is_no_timeout() -> None:
    alarms = Alarms(monotonic)
    waiting = asyncio.Event()

    async def wait() -> None:
        with alarms.limit(60.0):
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alarms._set


async def test_a_cancel_beside_the_alarm_stays_a_cancel() -> None:
    clock = Hands()
    alarms = Alarms(clock)
    waiting = asyncio.Event()

    async def wait() -> None:
        with alarms.limit(1.0) as alarm:
            waiting.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                alarm.ring()  # Both in the same turn: who came first can't be told.
                raise

    task = asyncio.create_task(wait())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_wait_is_its_own() -> None:
    with pytest.raises(KeyError), Alarms(monotonic).limit(1.0):
        raise KeyError
