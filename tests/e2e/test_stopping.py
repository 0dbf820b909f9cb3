"""The end of the process: what callers see of it, what is recorded, how long it takes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.measure import family
from tests.e2e.kuro import PATIENCE, ROOT, Kuro, model, write_config
from tests.e2e.raw import Caller, Heard, ask, calling, get
from tests.stub import Gate, StubUpstream, gated, hang, ok

WORDS = " ".join(f"word{number}" for number in range(50))
PATIENT = {"connect": 2, "first_token": 60, "idle": 60, "total": 60}
MODELS = [model(name, timeouts=PATIENT) for name in ("brief", "endless", "silent")]


def body(name: str, stream: bool = False) -> dict[str, Any]:
    return {"model": name, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def start(stub: StubUpstream, tmp_path: Path) -> Iterator[Callable[..., Kuro]]:
    """Starts proxies with three models: one answers when its gate opens, one writes on and on, one never."""
    running: list[Kuro] = []

    def start(*arguments: str, drain_timeout: float = 20, **proxy: Any) -> Kuro:
        listen = {"drain_timeout": drain_timeout}
        config = write_config(tmp_path, stub.url, MODELS, proxy={"listen": listen, **proxy})
        running.append(Kuro(config, *arguments))
        return running[-1]

    stub.script("endless", ok(WORDS, pace=0.5))
    stub.script("silent", hang())
    yield start
    for kuro in running:
        kuro.process.kill()
        kuro.stop()


async def hits(stub: StubUpstream, name: str, number: int = 1) -> Callable[[], Awaitable[object]]:
    """Waits for so many more requests than there were."""
    before = stub.hits(name)
    return lambda: stub.wait_hits(name, before + number, PATIENCE)


async def exit_code(kuro: Kuro) -> int:
    return await asyncio.to_thread(kuro.process.wait, PATIENCE)


async def unready(kuro: Kuro) -> Heard:
    """The readiness probe's answer once it has changed."""
    while (heard := await get(kuro.port, "/readyz")).status == 200:
        pass
    return heard


async def until(holds: Callable[[], bool]) -> None:
    """Looks at what no event tells of: other processes."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


WORKERS = pytest.mark.parametrize(
    "workers", [pytest.param("1", id="one worker"), pytest.param("2", id="two workers")]
)
SIGNALS = pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, id="SIGTERM"), pytest.param(signal.SIGINT, id="SIGINT")]
)


@WORKERS
@SIGNALS
async def test_open_calls_finish_while_new_ones_are_refused(
    start: Callable[..., Kuro], stub: StubUpstream, workers: str, number: signal.Signals
) -> None:
    gate, kuro = Gate(), start("--workers", workers)
    stub.script("brief", gated(gate, ok("All of it."), at=2))
    asked = await hits(stub, "brief", 2)
    stream = asyncio.create_task(ask(kuro.port, body("brief", stream=True), x_request_id="stream"))
    whole = asyncio.create_task(ask(kuro.port, body("brief"), x_request_id="whole"))
    await asked()
    kuro.process.send_signal(number)
    probe = await unready(kuro)
    assert (probe.status, probe.json["reason"]) == (503, "draining")
    assert (await get(kuro.port, "/healthz")).status == 200
    late = await ask(kuro.port, body("brief"), x_request_id="late")
    assert (late.status, late.code) == (503, "proxy_stopping")
    assert (late.headers["connection"], late.headers["retry-after"]) == ("close", "1")
    gate.release()
    heard = await stream
    assert heard.whole
    assert heard.body.endswith(b"data: [DONE]\n\n")
    assert (await whole).json["choices"][0]["message"]["content"] == "All of it."
    assert await exit_code(kuro) == 0
    assert [kuro.record(name)["outcome"] for name in ("stream", "whole", "late")] == ["ok", "ok", "refused"]
    assert kuro.record("late")["error_code"] == "proxy_stopping"


async def test_a_kept_connection_is_told_to_go_elsewhere(
    start: Callable[..., Kuro], stub: StubUpstream
) -> None:
    gate, kuro = Gate(), start()
    stub.script("brief", gated(gate))
    asked = await hits(stub, "brief")
    async with calling(kuro.port) as busy, calling(kuro.port) as idle:
        await idle.send("GET", "/healthz")
        assert (await idle.hear()).status == 200
        await busy.chat(body("brief"))
        await asked()
        kuro.process.send_signal(signal.SIGTERM)
        await unready(kuro)
        await idle.chat(body("brief"))
        refused = await idle.hear()
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert await idle.ended()
        gate.release()
        answer = await busy.hear()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await busy.ended()
    assert await exit_code(kuro) == 0


@WORKERS
async def test_what_does_not_finish_in_time_is_ended_with_an_error(
    start: Callable[..., Kuro], stub: StubUpstream, workers: str
) -> None:
    kuro = start("--workers", workers, drain_timeout=0.3)
    asked, waited = await hits(stub, "endless"), await hits(stub, "silent", 2)
    stream = asyncio.create_task(ask(kuro.port, body("endless", stream=True), x_request_id="endless"))
    whole = asyncio.create_task(ask(kuro.port, body("silent"), x_request_id="silent"))
    unbegun = asyncio.create_task(ask(kuro.port, body("silent", stream=True), x_request_id="unbegun"))
    await asked()
    await waited()
    began = time.monotonic()
    kuro.process.send_signal(signal.SIGTERM)
    heard = await stream
    assert heard.whole
    assert heard.code == "proxy_stopping"
    assert b"[DONE]" not in heard.body
    assert heard.body.count(b'"error"') == 1
    for waiting in (await whole, await unbegun):
        assert (waiting.status, waiting.code) == (503, "proxy_stopping")
        assert (waiting.headers["connection"], waiting.headers["retry-after"]) == ("close", "1")
    assert await exit_code(kuro) == 0
    assert time.monotonic() - began < 5
    record = kuro.record("endless")
    assert (record["outcome"], record["status"], record["error_code"]) == ("aborted", 200, "proxy_stopping")
    assert record["usage"]["estimated"]
    for name in ("silent", "unbegun"):
        record = kuro.record(name)
        assert (record["outcome"], record["status"], record["error_code"]) == ("error", 503, "proxy_stopping")


@WORKERS
async def test_a_second_signal_hurries(start: Callable[..., Kuro], stub: StubUpstream, workers: str) -> None:
    kuro, asked = start("--workers", workers, drain_timeout=600), await hits(stub, "endless")
    stream = asyncio.create_task(ask(kuro.port, body("endless", stream=True), x_request_id="hurried"))
    await asked()
    began = time.monotonic()
    kuro.process.send_signal(signal.SIGTERM)
    await unready(kuro)
    assert not stream.done()
    kuro.process.send_signal(signal.SIGTERM)
    assert (await stream).code == "proxy_stopping"
    assert await exit_code(kuro) == 0
    assert time.monotonic() - began < 5
    assert kuro.record("hurried")["outcome"] == "aborted"


async def test_a_signal_that_finds_workers_still_starting_is_no_crash(start: Callable[..., Kuro]) -> None:
    kuro = start("--workers", "2")  # which says where it listens before there are any
    while len(found := family(kuro.process.pid)) < 3:
        assert kuro.process.poll() is None
    for pid in found:
        os.kill(pid, signal.SIGINT)
    assert await exit_code(kuro) == 0


async def test_one_signal_to_the_whole_group_is_not_two(
    start: Callable[..., Kuro], stub: StubUpstream
) -> None:
    gate, kuro = Gate(), start("--workers", "2")
    stub.script("brief", gated(gate))
    asked = await hits(stub, "brief")
    whole = asyncio.create_task(ask(kuro.port, body("brief")))
    await asked()
    for pid in family(kuro.process.pid):  # as Ctrl-C in a terminal, or systemd
        os.kill(pid, signal.SIGINT)
    await unready(kuro)
    gate.release()
    assert (await whole).status == 200
    assert await exit_code(kuro) == 0


async def test_a_caller_that_takes_nothing_does_not_keep_the_process(
    start: Callable[..., Kuro], stub: StubUpstream
) -> None:
    stub.script("brief", ok(events=["x" * 65536] * 400))
    kuro, asked = start(drain_timeout=0.2), await hits(stub, "brief")
    async with calling(kuro.port) as stalled:
        await stalled.chat(body("brief", stream=True), x_request_id="stalled")
        await asked()
        stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]
        kuro.process.send_signal(signal.SIGTERM)
        assert await exit_code(kuro) == 0
    assert kuro.record("stalled")["outcome"] == "aborted"


async def test_a_body_on_its_way_does_not_keep_the_process(start: Callable[..., Kuro]) -> None:
    kuro = start(drain_timeout=0.2)
    async with calling(kuro.port) as slow:
        head = {"content-type": "application/json", "x-request-id": "slow"}
        await slow.send("POST", "/v1/chat/completions", b"", {**head, "expect": "100-continue"})
        slow.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: kuro\r\ncontent-length: 10\r\n\r\n{")
        kuro.process.send_signal(signal.SIGTERM)
        assert await exit_code(kuro) == 0


async def test_killed_with_200_streams_open_no_caller_sees_a_clean_end(
    start: Callable[..., Kuro], stub: StubUpstream
) -> None:
    kuro, asked = start(), await hits(stub, "endless", 200)
    streams = [asyncio.create_task(ask(kuro.port, body("endless", stream=True))) for _ in range(200)]
    await asked()
    kuro.process.kill()
    heard = await asyncio.gather(*streams)
    assert not [answer for answer in heard if answer.whole or b"[DONE]" in answer.body]


# --- several workers -----------------------------------------------------------------------------


async def children(kuro: Kuro, without: frozenset[int] = frozenset(), number: int = 2) -> set[int]:
    """The workers' pids, when there are so many, none of them among `without`."""
    await until(lambda: len(workers_of(kuro) - without) >= number)
    return workers_of(kuro) - without


def workers_of(kuro: Kuro) -> set[int]:
    """Those that serve: spawning needs a resource tracker, too, which doesn't."""
    return {pid for pid in family(kuro.process.pid)[1:] if b"spawn_main" in command(pid)}


def is_open(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def command(pid: int) -> bytes:
    """Its command line; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


async def test_a_worker_that_dies_is_replaced(start: Callable[..., Kuro], stub: StubUpstream) -> None:
    stub.script("brief", ok("Here."))
    kuro = start("--workers", "2")
    old = await children(kuro)
    victim = min(old)
    assert (await ask(kuro.port, body("brief"))).status == 200
    os.kill(victim, signal.SIGKILL)
    kuro.wait_line(lambda line: "another takes its place" in line.get("message", ""))
    await children(kuro, without=frozenset({victim}))
    answers = await asyncio.gather(*[ask(kuro.port, body("brief")) for _ in range(20)])
    assert [answer.status for answer in answers] == [200] * 20
    kuro.process.send_signal(signal.SIGTERM)
    assert await exit_code(kuro) == 0


async def test_sighup_lets_workers_and_their_calls_live(
    start: Callable[..., Kuro], stub: StubUpstream
) -> None:
    gate = Gate()
    stub.script("brief", gated(gate))
    kuro, asked = start("--workers", "2"), await hits(stub, "brief")
    old = frozenset(await children(kuro))
    whole = asyncio.create_task(ask(kuro.port, body("brief")))
    await asked()
    kuro.process.send_signal(signal.SIGHUP)
    kuro.wait_line(lambda line: line.get("event") == "reload")
    gate.release()
    assert (await whole).status == 200
    assert workers_of(kuro) == old
    assert (await ask(kuro.port, body("brief"))).status == 200
    kuro.process.send_signal(signal.SIGTERM)
    assert await exit_code(kuro) == 0


async def test_workers_whose_parent_was_killed_end_by_themselves(start: Callable[..., Kuro]) -> None:
    kuro = start("--workers", "2")
    orphans = await children(kuro)
    assert (await get(kuro.port, "/readyz")).status == 200
    kuro.process.kill()
    await until(lambda: not any(map(command, orphans)))
    await until(lambda: not is_open(kuro.port))


# --- once more on the same port ------------------------------------------------------------------


async def test_started_again_on_the_same_port_right_after(
    start: Callable[..., Kuro], stub: StubUpstream
) -> None:
    gate = Gate()
    stub.script("brief", gated(gate))
    first, asked = start(), await hits(stub, "brief")
    whole = asyncio.create_task(ask(first.port, body("brief")))
    await asked()
    first.process.send_signal(signal.SIGTERM)
    gate.release()
    assert (await whole).status == 200
    assert await exit_code(first) == 0
    second = start("--port", str(first.port))
    assert second.port == first.port
    assert (await ask(second.port, body("brief"))).status == 200


class Crowd:
    """Callers that ask again and again, over whatever connection they can get, and what came of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.going = True
        self.seen: Counter[str] = Counter()
        self.half: list[Heard] = []
        """Responses that began and did not end: never to be seen."""

    async def call(self, number: int) -> None:
        """One caller, until the crowd goes home."""
        while self.going:
            try:
                async with calling(self.port) as caller:
                    while self.going and await self._ask(caller, stream=bool(number % 2)):
                        pass
            except ConnectionError:
                self.seen["not connected"] += 1
                await asyncio.sleep(0.02)

    async def _ask(self, caller: Caller, stream: bool) -> bool:
        """Whether the connection can be used again."""
        await caller.chat(body("brief", stream=stream))
        heard = await caller.hear()
        if heard.whole:
            done = not stream or heard.body.endswith(b"data: [DONE]\n\n")
            self.seen["ok" if heard.status == 200 and done else str(heard.code)] += 1
            return heard.headers.get("connection") != "close"
        if heard.status:
            self.half.append(heard)
        self.seen["closed before a byte"] += 1
        return False


@WORKERS
async def test_restarted_under_load_nobody_gets_half_an_answer(
    start: Callable[..., Kuro], stub: StubUpstream, workers: str
) -> None:
    stub.script("brief", ok("one two three four five six", pace=0.02))
    first = start("--workers", workers)
    crowd, asked = Crowd(first.port), await hits(stub, "brief", 200)
    callers = [asyncio.create_task(crowd.call(number)) for number in range(40)]
    await asked()
    first.process.send_signal(signal.SIGTERM)
    assert await exit_code(first) == 0
    second = await asyncio.to_thread(start, "--workers", workers, "--port", str(first.port))
    await (await hits(stub, "brief", 200))()
    crowd.going = False
    await asyncio.gather(*callers)
    second.process.send_signal(signal.SIGTERM)
    assert await exit_code(second) == 0
    print(f"\n{dict(crowd.seen)}")
    assert not crowd.half
    assert set(crowd.seen) <= {"ok", "proxy_stopping", "not connected", "closed before a byte"}
    records = Counter(record["outcome"] for kuro in (first, second) for record in kuro.records())
    assert records == {"ok": crowd.seen["ok"], "refused": crowd.seen["proxy_stopping"]}


def test_a_port_that_is_taken_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "proxy", "serve", "--port", where.partition(":")[2]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert f"can't listen on {where}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
