"""Counts of several workers as one proxy's: whoever answers, whoever dies, nothing is lost or falls."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.measure import family
from tests.e2e.kuro import PATIENCE, Kuro, model, write_config
from tests.e2e.raw import ask
from tests.e2e.scraped import nothing_falls, scrape, total, until_counted
from tests.stub import StubUpstream, fail, ok

HELLO: dict[str, Any] = {"model": "one", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def pair(stub: StubUpstream, tmp_path: Path) -> Iterator[Kuro]:
    stub.script("one", ok("Here."))
    stub.script("down", fail(401))
    config = write_config(
        tmp_path, stub.url, [model("one"), model("down")], proxy={"admin_key": "sk-admin-of-the-tests"}
    )
    with Kuro(config, "--workers", "2") as proxy:
        yield proxy


async def call(pair: Kuro, number: int) -> None:
    answers = await asyncio.gather(*(ask(pair.port, HELLO) for _ in range(number)))
    assert [answer.status for answer in answers] == [200] * number


def workers(pair: Kuro) -> set[int]:
    return {pid for pid in family(pair.process.pid) if b"spawn_main" in _command(pid)}


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_whoever_answers_speaks_for_all(pair: Kuro) -> None:
    await until_counted(pair.port, "llm_workers", 2)
    await call(pair, 40)
    seen = await until_counted(pair.port, "llm_requests_total", 40)
    assert total(seen, "llm_request_latency_seconds_count") == 40
    for _ in range(10):
        assert total(await scrape(pair.port), "llm_requests_total") == 40


async def test_a_circuit_that_is_open_in_one_worker_is_shown_as_open(pair: Kuro) -> None:
    await until_counted(pair.port, "llm_workers", 2)
    await ask(pair.port, HELLO | {"model": "down"})
    seen = await until_counted(pair.port, "llm_circuit_transitions_total", 1, model="down", state="open")
    assert total(seen, "circuit_open_gauge", model="down") == 1
    assert total(seen, "llm_circuit_state", model="down", state="open") == 1
    assert total(seen, "llm_circuit_state", model="down", state="closed") == 1
    assert total(seen, "circuit_open_gauge", model="one") == 0


async def test_what_a_killed_worker_had_shown_stays(pair: Kuro) -> None:
    await until_counted(pair.port, "llm_workers", 2)
    await call(pair, 30)
    await until_counted(pair.port, "llm_requests_total", 30)
    async with nothing_falls(pair.port):
        for deaths in (1, 2):
            old = workers(pair)
            os.kill(min(old), signal.SIGKILL)
            await until(lambda: min(old) not in workers(pair) and len(workers(pair)) == 2)  # noqa: B023
            await until_counted(pair.port, "llm_worker_deaths_total", deaths)
            seen = await until_counted(pair.port, "llm_workers", 2)
            assert total(seen, "llm_requests_total") == 30
    await call(pair, 10)
    await until_counted(pair.port, "llm_requests_total", 40)


async def test_workers_that_are_replaced_under_load_leave_exact_counts(pair: Kuro) -> None:
    await until_counted(pair.port, "llm_workers", 2)
    made, over = 0, asyncio.Event()

    async def calling() -> None:
        nonlocal made
        while not over.is_set():
            assert (await ask(pair.port, HELLO)).status in (200, 503)  # by who is being replaced
            made += 1

    async with nothing_falls(pair.port):
        callers = [asyncio.create_task(calling()) for _ in range(4)]
        for worker in workers(pair):
            os.kill(worker, signal.SIGTERM)
            await until(lambda: worker not in workers(pair) and len(workers(pair)) == 2)  # noqa: B023
        over.set()
        await asyncio.gather(*callers)
    assert made > 0
    seen = await until_counted(pair.port, "llm_requests_total", made)
    assert total(seen, "llm_worker_deaths_total") == 0
    assert total(await until_counted(pair.port, "llm_workers", 2), "llm_connections") >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_directory_goes_with_the_last_process(pair: Kuro, number: signal.Signals) -> None:
    pattern = f"kuro-metrics-{pair.process.pid}-*"
    await until_counted(pair.port, "llm_workers", 2)
    places = [
        found for place in (Path("/dev/shm"), Path(tempfile.gettempdir())) for found in place.glob(pattern)
    ]
    assert len(places) == 1
    pair.process.send_signal(number)
    await until(lambda: not places[0].exists())
