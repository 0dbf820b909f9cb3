"""More calls than there are places: who waits, who is sent away, in which order, and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bench.measure import Watch, resident_mb
from tests.e2e.kuro import PATIENCE, Kuro, model, running, write_config
from tests.e2e.raw import Heard, ask, calling, get
from tests.stub import Gate, StubUpstream, gated, ok

HELLO: dict[str, Any] = {"model": "one", "messages": [{"role": "user", "content": "Hello"}]}
KEYS = [{"name": name, "key": f"sk-{name}-of-the-tests"} for name in ("alice", "bob")]


@contextmanager
def limited(stub: StubUpstream, tmp_path: Path, **limits: float) -> Iterator[Kuro]:
    patient = {"connect": 2, "first_token": 60, "idle": 60, "total": 60}
    config = write_config(tmp_path, stub.url, [model("one", timeouts=patient)], proxy={"limits": limits})
    with running(config) as kuro:
        yield kuro


async def gauge(kuro: Kuro, name: str) -> float:
    lines = (await get(kuro.port, "/metrics")).body.decode().splitlines()
    return next(float(line.split(" ")[1]) for line in lines if line.startswith(f"{name} "))


async def waiting(kuro: Kuro, number: int) -> None:
    """Until so many calls are in the queue."""
    async with asyncio.timeout(PATIENCE):
        while await gauge(kuro, "llm_queue_waiting") != number:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_beyond_places_and_queue_callers_are_sent_away_at_once(
    stub: StubUpstream, tmp_path: Path
) -> None:
    gate = Gate()
    stub.script("one", gated(gate))
    with limited(stub, tmp_path, max_in_flight=4, max_queue=4) as kuro:
        served = [asyncio.create_task(ask(kuro.port, HELLO, x_request_id=f"in-{n}")) for n in range(4)]
        await gate.wait(4)
        queued = [asyncio.create_task(ask(kuro.port, HELLO, x_request_id=f"queued-{n}")) for n in range(4)]
        await waiting(kuro, 4)
        for _ in range(8):
            refused = await ask(kuro.port, HELLO, x_request_id="refused")
            assert (refused.status, refused.code) == (503, "proxy_overloaded")
            assert refused.headers["retry-after"] == "1"
            assert refused.seconds < 0.1
        assert await gauge(kuro, "llm_queue_in_flight") == 4
        assert await gauge(kuro, "llm_queue_refused_total") == 8
        gate.release()
        assert [(await call).status for call in (*served, *queued)] == [200] * 8
        assert await gauge(kuro, "llm_queue_in_flight") == 0
        for n in range(4):
            assert kuro.record(f"in-{n}")["queued_ms"] == 0
            record = kuro.record(f"queued-{n}")
            assert 0 < record["queued_ms"] <= record["latency_ms"]
            assert record["overhead_ms"] < record["latency_ms"] - record["queued_ms"]
        assert kuro.record("refused")["outcome"] == "refused"


async def test_a_caller_that_leaves_the_queue_is_not_asked_for(stub: StubUpstream, tmp_path: Path) -> None:
    gate = Gate()
    stub.script("one", gated(gate))
    with limited(stub, tmp_path, max_in_flight=1, max_queue=1) as kuro:
        served = asyncio.create_task(ask(kuro.port, HELLO))
        await gate.wait(1)
        before = stub.hits("one")
        async with calling(kuro.port) as leaver:
            await leaver.chat(HELLO, x_request_id="leaver")
            await waiting(kuro, 1)
        await waiting(kuro, 0)
        another = asyncio.create_task(ask(kuro.port, HELLO))
        await waiting(kuro, 1)
        gate.release()
        assert [(await served).status, (await another).status] == [200, 200]
        assert stub.hits("one") == before + 1
        record = kuro.record("leaver")
        assert (record["outcome"], record["attempts"]) == ("caller_left", [])
        assert record["queued_ms"] > 0


async def test_keys_take_turns(stub: StubUpstream, tmp_path: Path) -> None:
    gate = Gate()
    stub.script("one", gated(gate))
    proxy = {"keys": KEYS, "limits": {"max_in_flight": 1}}
    with running(write_config(tmp_path, stub.url, [model("one")], proxy=proxy)) as kuro:

        def come(key: str, name: str) -> asyncio.Task[Heard]:
            body = HELLO | {"messages": [{"role": "user", "content": name}]}
            return asyncio.create_task(ask(kuro.port, body, authorization=f"Bearer sk-{key}-of-the-tests"))

        first, before = come("alice", "first"), stub.hits("one")
        await gate.wait(1)
        calls = []
        for name in ("a1", "a2", "a3", "b1"):
            calls.append(come("bob" if name == "b1" else "alice", name))
            await waiting(kuro, len(calls))
        gate.release()
        assert [(await call).status for call in (first, *calls)] == [200] * 5
        asked = [received.json["messages"][0]["content"] for received in stub.requests["one"][before:]]
        assert asked == ["first", "a1", "b1", "a2", "a3"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        pytest.param({}, 503, "proxy_overloaded", id="the queue's own"),
        pytest.param({"x_request_timeout": "0.1"}, 504, "request_timeout", id="the caller's deadline"),
    ],
)
async def test_nobody_waits_longer_than(
    stub: StubUpstream, tmp_path: Path, headers: dict[str, str], status: int, code: str
) -> None:
    gate = Gate()
    stub.script("one", gated(gate))
    with limited(stub, tmp_path, max_in_flight=1, queue_timeout=0.3) as kuro:
        served = asyncio.create_task(ask(kuro.port, HELLO))
        await gate.wait(1)
        refused = await ask(kuro.port, HELLO, **headers)
        assert (refused.status, refused.code) == (status, code)
        assert refused.seconds < 1
        gate.release()
        assert (await served).status == 200
        assert (await ask(kuro.port, HELLO)).status == 200


PLACES, TAKES, LENGTH = 40, 0.4, 8.0
"""Calls at once, seconds that each takes, seconds of load: 100 calls/s are all that can be served."""


@pytest.mark.slow
async def test_three_times_the_capacity_is_met_with_answers_and_quick_refusals(
    stub: StubUpstream, tmp_path: Path
) -> None:
    stub.script("one", ok("Here.", delay=TAKES))
    body = HELLO | {"messages": [{"role": "user", "content": "word " * 2000}]}
    with limited(stub, tmp_path, max_in_flight=PLACES, max_queue=PLACES, queue_timeout=5) as kuro:
        await asyncio.gather(*[ask(kuro.port, body) for _ in range(PLACES * 2)])
        pid, loop = kuro.process.pid, asyncio.get_running_loop()
        before, began, calls = resident_mb(pid), loop.time(), []
        offered = round(3 * PLACES / TAKES * LENGTH)
        with Watch(pid) as watch:
            for number in range(offered):
                await asyncio.sleep(max(began + number * LENGTH / offered - loop.time(), 0))
                calls.append(asyncio.create_task(ask(kuro.port, body)))
            lasted = loop.time() - began
            heard = await asyncio.gather(*calls)
        recovery = await ask(kuro.port, body)
        refused = sorted(answer.seconds for answer in heard if answer.status == 503)
        served = sorted(answer.seconds for answer in heard if answer.status == 200)
        print(f"\n{offered} calls in {lasted:.1f} s; resident {before:.1f}, at most {watch.peak_mb:.1f} MB")
        for what, times in (("served", served), ("refused", refused)):
            p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
            print(f"{len(times)} {what} after p50 {p50:.4f}, p99 {p99:.4f}, at most {times[-1]:.4f} s")
        assert len(served) + len(refused) == offered
        assert len(served) >= 0.9 * PLACES / TAKES * LENGTH
        assert refused[-1] < 0.1
        assert served[-1] < 3 * TAKES + 0.5
        assert (recovery.status, recovery.seconds < TAKES + 0.5) == (200, True)
        assert watch.peak_mb - before < 20
