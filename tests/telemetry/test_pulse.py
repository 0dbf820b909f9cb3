"""The heartbeat."""

from __future__ import annotations

import asyncio
import time

import pytest

from proxy.telemetry.pulse import BEAT, TICK, Pulse


async def test_a_loop_that_was_held_up_is_told_by_how_much() -> None:
    seen: list[float] = []
    told = asyncio.Event()

    def late(seconds: float) -> None:
        seen.append(seconds)
        told.set()

    async with Pulse(late, lambda: None):
        await asyncio.sleep(0)
        time.sleep(TICK + 0.1)  # noqa: ASYNC251  # this is what it is for
        await asyncio.wait_for(told.wait(), 5)
    assert 0.09 < seen[0] < 5


async def test_it_beats_every_now_and_then() -> None:
    ticks, beaten = [0.0], asyncio.Event()
    async with Pulse(ticks.append, beaten.set):
        await asyncio.wait_for(beaten.wait(), 10)
    assert len(ticks) - 1 == BEAT


def test_a_beat_that_fails_is_told_once_until_it_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    failing = [True]

    def post() -> None:
        if failing[0]:
            raise OSError("no space left")

    pulse = Pulse(lambda _: None, post)
    for failing[0] in (True, True, False, True):
        pulse.beat()
    assert caplog.text.count("no space left") == 2
