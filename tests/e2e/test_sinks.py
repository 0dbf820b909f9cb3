"""Where records go is broken, a full disk or a dead collector: no call notices, losses are counted."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kuro import PATIENCE, ROOT, model, write_config
from tests.e2e.raw import ask, get
from tests.stub import StubUpstream, ok

HELLO: dict[str, Any] = {"model": "one", "messages": [{"role": "user", "content": "Hello"}]}
CALLS = 100


@contextmanager
def mute(config: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A proxy whose log can't be read, so it doesn't tell its port: a free one is chosen before."""
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()


async def listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                assert (await get(port, "/readyz")).status == 200
                return
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


async def counted(port: int, name: str) -> float:
    lines = (await get(port, "/metrics")).body.decode().splitlines()
    return next(float(line.split(" ")[1]) for line in lines if line.startswith(f"{name} "))


async def lost(port: int, name: str, number: int) -> None:
    """Until so many are counted: writers and exporters have threads of their own."""
    async with asyncio.timeout(PATIENCE):
        while await counted(port, name) < number:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def slowest(port: int) -> float:
    """Seconds of the slowest of many calls, all of which were answered."""
    answers = [await ask(port, HELLO) for _ in range(CALLS)]
    assert [answer.status for answer in answers] == [200] * CALLS
    return max(answer.seconds for answer in answers)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
async def test_a_full_disk_touches_no_call_and_lost_lines_are_counted(
    stub: StubUpstream, tmp_path: Path
) -> None:
    stub.script("one", ok("Here."))
    log = {"telemetry": {"log": {"file": "/dev/full"}}}
    with mute(write_config(tmp_path, stub.url, [model("one")], proxy=log)) as (process, port):
        await listening(port)
        assert await slowest(port) < 0.5
        await lost(port, "llm_log_lines_lost_total", CALLS)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PATIENCE) == 0


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("dead", ["refuses", "accepts and never answers"])
async def test_a_dead_collector_touches_no_call_and_lost_spans_are_counted(
    stub: StubUpstream, tmp_path: Path, dead: str, protocol: str
) -> None:
    stub.script("one", ok("Here."))
    with socket.create_server(("127.0.0.1", 0)) as collector:
        endpoint = f"http://127.0.0.1:{collector.getsockname()[1]}"
        if dead == "refuses":
            collector.close()
        trace = {"endpoint": endpoint, "protocol": protocol, "ratio": 1.0}
        config = write_config(tmp_path, stub.url, [model("one")], proxy={"telemetry": {"trace": trace}})
        with mute(config) as (process, port):
            await listening(port)
            assert await slowest(port) < 0.5
            await lost(port, "llm_spans_lost_total", 1)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, PATIENCE) == 0
            assert time.monotonic() - began < 8
