"""Hostile callers in earnest: `make hostile`. Prints what it measured."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from proxy.server.descriptors import RESERVE
from tests.bench.measure import Watch, cpu_seconds, resident_mb
from tests.e2e.kuro import ROOT, Kuro, model, running, write_config
from tests.e2e.wire import HELLO, Wire, request
from tests.stub import StubUpstream, ok

pytestmark = pytest.mark.slow

GOOD = request(HELLO)
LIMITS = {"head_timeout": 15, "body_timeout": 15, "max_connections": 12_000}
PATIENT = {"connect": 5, "first_token": 30, "idle": 5, "total": 600}


class Sampler:
    """Good requests, one after the other and each on a connection of its own, while a `with` lasts."""

    def __init__(self, port: int) -> None:
        self.latencies: list[float] = []
        self.statuses: set[int] = set()
        self._port = port
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._ended.wait(0.02):
            began = time.perf_counter()
            with Wire(self._port) as wire:
                self.statuses.add(wire.send(GOOD).answer().status)
            self.latencies.append(time.perf_counter() - began)

    def told(self) -> str:
        p50, most = median(self.latencies) * 1000, max(self.latencies) * 1000
        return f"{len(self.latencies)} good requests: p50 {p50:.1f} ms, max {most:.1f} ms"


@contextmanager
def slow_callers(port: int, count: int, kind: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.e2e.slowloris", "--port", str(port), "--count", str(count)]
    with subprocess.Popen([*command, "--kind", kind], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    value: dict[str, Any] = json.loads(process.stdout.readline())
    return value


@pytest.fixture
def proxy(stub: StubUpstream, tmp_path: Path) -> Iterator[Kuro]:
    models = [model("primary"), model("long", timeouts=PATIENT)]
    with running(write_config(tmp_path, stub.url, models, proxy={"limits": LIMITS})) as kuro:
        for _ in range(500):  # what calls take once: time to start, memory
            with Wire(kuro.port) as wire:
                assert wire.send(GOOD).answer().status == 200
        yield kuro


@pytest.mark.parametrize("kind", ["heads", "bodies"])
def test_ten_thousand_slow_callers(proxy: Kuro, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # Callers have half of the descriptors; of what is beyond it those go that wait longest.
    count = min(10_000, (hard - RESERVE) // 2 - 64)
    pid = proxy.process.pid
    before, cpu, began = resident_mb(pid), cpu_seconds(pid), time.perf_counter()
    with (
        Watch(pid) as watch,
        Sampler(proxy.port) as sampler,
        slow_callers(proxy.port, count, kind) as process,
    ):
        connected = line(process)
        told = line(process)
    busy = (cpu_seconds(pid) - cpu) / (time.perf_counter() - began)
    with capsys.disabled():
        print(f"\n{count} slow {kind}, {connected['open']} of them open at once: {sampler.told()}")
        print(
            f"  resident {before:.0f} -> {watch.peak_mb:.0f} MB "
            f"({(watch.peak_mb - before) * 1e3 / count:.1f} KB each), CPU {busy:.0%}, cut: {told}"
        )
    assert told["statuses"] == {"408": count}
    assert told["last_s"] < 15 + 3 + 2
    assert sampler.statuses == {200}
    assert max(sampler.latencies) < 1.0


def test_a_slow_reader_holds_the_upstream_back(
    proxy: Kuro, stub: StubUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    event = "x" * 65_000
    stub.script("long", ok(events=[event] * 4000))
    pid = proxy.process.pid
    with Wire(proxy.port, timeout=60, receive_buffer=4096) as wire:
        before = resident_mb(pid)
        wire.send(request(HELLO | {"model": "long", "stream": True}))
        received = stub.block_hits("long", 1)
        with Watch(pid) as watch, Sampler(proxy.port) as sampler:
            for _ in range(20):
                wire.take(1024)
                assert not received.answered.is_set()
                time.sleep(1.0)  # the reader's pace is what is tried here
        held = watch.peak_mb - before
        began = time.perf_counter()
        with Watch(pid) as watch:
            size = wire.drain(b"data: [DONE]\n\n")
        with capsys.disabled():
            print(f"\na reader at 1 KB/s of {size / 1e6:.0f} MB: {sampler.told()}")
            print(
                f"  resident {before:.0f} MB, +{held:.1f} MB while it was slow, then {size / 1e6:.0f} MB in "
                f"{time.perf_counter() - began:.1f} s, +{watch.peak_mb - before:.1f} MB"
            )
    assert size > 256_000_000
    assert held < 8
    assert watch.peak_mb - before < 16
    assert sampler.statuses == {200}
    assert max(sampler.latencies) < 1.0
