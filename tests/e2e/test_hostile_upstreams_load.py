"""The heavy attacks, several at once: `make hostile-upstreams`. Says what each took of memory and time."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.conftest import MODELS, reset
from tests.e2e.hostile import (
    ASK,
    DONE,
    GOOD,
    MB,
    ROLE,
    STREAM,
    Memory,
    Prober,
    endless,
    event,
    http,
    hurried,
    json_reply,
    packed,
    said,
    text_of,
    well,
    whole,
)
from tests.e2e.kuro import Kuro
from tests.stub import Behaviour, StubUpstream, comments_only, ok

pytestmark = pytest.mark.slow

PATH = "/v1/chat/completions"
LIMITS = {"connect": 2, "first_token": 3.0, "idle": 2.0, "total": 20}
CALLERS = 8
REPLY = 64 * MB
"""The largest reply that is taken, see `proxy.dispatch.exchange`."""


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, stub: StubUpstream) -> Iterator[Kuro]:
    """A proxy with limits that a busy machine can keep."""
    with hurried(tmp_path_factory.mktemp("load"), stub, **LIMITS) as proxy:
        well(proxy, stub)
        yield proxy


def attacked(
    proxy: Kuro, body: dict[str, Any], callers: int, name: str, most: float, stall: float = 2.0
) -> list[tuple[int, Any]]:
    """So many callers at once; fails when memory rose by `most` MB or others waited longer than `stall`."""
    for model in MODELS:
        reset(proxy, model["id"])
    memory = Memory(proxy)
    memory.forget()
    before, began = memory(), time.monotonic()
    with Prober(proxy) as prober, ThreadPoolExecutor(callers) as pool:
        answers = list(pool.map(lambda _: proxy.chat(body)[::2], range(callers)))
    took, peak, after = time.monotonic() - began, memory.peak(), memory()
    print(
        f"{name:44} x {callers:3}  {took:5.1f} s  {before:4.0f} -> {peak:5.0f} -> {after:4.0f} MB"
        f"  others waited {prober.longest * 1e3:5.0f} ms"
    )
    assert peak - before < most
    assert after - before < 64, "what was taken is given back"
    assert prober.longest < stall
    assert not prober.failed
    return answers


FILL = b"x" * (REPLY - len(whole(b"")))

ACCEPTED: dict[str, Callable[[], Behaviour]] = {
    "a reply of 64 MB": lambda: json_reply(whole(FILL)),
    "a reply of 64 MB in 64 KB of gzip": lambda: json_reply(
        gzip.compress(whole(FILL), 9), "content-encoding: gzip"
    ),
}


@pytest.mark.parametrize("callers", [1, 4])
@pytest.mark.parametrize("make", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_the_largest_replies_are_relayed(
    patient: Kuro, stub: StubUpstream, make: Callable[[], Behaviour], callers: int, request: Any
) -> None:
    stub.script("third", make())
    most = 5 * 64 * callers
    answers = attacked(patient, ASK | {"model": "third"}, callers, request.node.callspec.id, most)
    assert all(status == 200 and len(text_of(body)) == len(FILL) for status, body in answers)
    well(patient, stub)


JSON = "application/json"
CROWD = b"{}," * (63 * MB // 3)

REPLIES: dict[str, Callable[[], Behaviour]] = {
    "a reply of 64 MB and a byte": lambda: json_reply(whole(FILL + b"x")),
    "a reply without end": lambda: endless(b"x" * MB, "content-length: 1000000000000", type=JSON),
    "a bomb of 4 GB": lambda: json_reply(packed(bytes(MB), 4096), "content-encoding: gzip"),
    "21 million choices": lambda: json_reply(b'{"choices":[' + CROWD + b"{}]}"),
    "21 million values, no object": lambda: json_reply(b"[" + CROWD + b"{}]"),
    "21 million values where nobody looks": lambda: json_reply(whole(more=b',"x":[' + CROWD + b"{}]")),
    "10 million texts": lambda: json_reply(b'{"choices":5,"x":[' + b'"ab",' * 12_000_000 + b"1]}"),
}  # fmt: skip


@pytest.mark.parametrize("make", REPLIES.values(), ids=REPLIES.keys())
def test_replies_that_are_too_much_fall_over(
    patient: Kuro, stub: StubUpstream, make: Callable[[], Behaviour], request: Any
) -> None:
    stub.script("primary", make())
    stub.script("second", ok("All is well."))
    answers = attacked(patient, ASK, CALLERS, request.node.callspec.id, 3 * 64 * CALLERS, stall=4.0)
    assert [(status, text_of(body)) for status, body in answers] == [(200, "All is well.")] * CALLERS
    well(patient, stub)


STREAMS: dict[str, Callable[[], Behaviour]] = {
    "a line of 32 MB": lambda: http(b"data: " + b"x" * 32 * MB),
    "a line for ever": lambda: endless(b"x" * MB, first=b"data: "),
    "an event of 32 MB, CR": lambda: http(b"data: x\r" * (4 * MB)),
    "a bomb of 4 GB": lambda: http(packed(bytes(MB), 4096), "content-encoding: gzip"),
    "a bomb of comments, 1 GB": lambda: http(packed(b": x\n\n" * 209_000, 1024), "content-encoding: gzip"),
    "roles for ever": lambda: endless(ROLE * 5000),
    "comments for ever": lambda: endless(b": x\n\n" * 20_000),
    "events that are no JSON, for ever": lambda: endless(b"data: {\n\n" * 20_000),
    "choices in plenty": lambda: http(b'data: {"choices":[' + b"{}," * 2_600_000 + b"{}]}\n\n"),
    "comments, now and then": lambda: comments_only(0.1),
}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS.keys())
def test_streams_that_are_too_much_fall_over(
    patient: Kuro, stub: StubUpstream, make: Callable[[], Behaviour], request: Any
) -> None:
    stub.script("primary", make())
    stub.script("second", ok("All is well."))
    answers = attacked(patient, STREAM, CALLERS, request.node.callspec.id, 8 * 8 * CALLERS, stall=4.0)
    assert [(status, text_of(body)) for status, body in answers] == [(200, "All is well.")] * CALLERS
    well(patient, stub)


def drain(proxy: Kuro, model: str) -> tuple[int, bytes]:
    """Reads a stream as fast as it comes; its length and its end."""
    connection = proxy.connect()
    connection.request("POST", PATH, json.dumps(STREAM | {"model": model}), {"content-type": JSON})
    response, size, tail = connection.getresponse(), 0, b""
    while data := response.read(256 * 1024):
        size, tail = size + len(data), (tail + data)[-2000:]
    connection.close()
    return size, tail


def test_an_endless_answer_at_full_speed_takes_no_memory_and_ends_in_time(
    patient: Kuro, stub: StubUpstream
) -> None:
    stub.script("third", endless(event(said("many words in one event ")) * 500, first=ROLE))
    memory = Memory(patient)
    memory.forget()
    before, began = memory(), time.monotonic()
    with Prober(patient) as prober:
        size, tail = drain(patient, "third")
    took, peak = time.monotonic() - began, memory.peak()
    print(
        f"an endless answer: {size / MB:.0f} MB in {took:.1f} s, {before:.0f} -> {peak:.0f} MB,"
        f" others waited {prober.longest * 1e3:.0f} ms"
    )
    assert LIMITS["total"] - 0.5 < took < LIMITS["total"] + 2
    assert b"request_timeout" in tail
    assert peak - before < 32


def test_good_calls_are_served_beside_fifty_hostile_streams(patient: Kuro, stub: StubUpstream) -> None:
    attacks = [
        endless(event(said("word ")) * 20, first=ROLE, pace=0.02),
        endless(b": x\n\n" * 100, first=ROLE + event(said("word ")), pace=0.02),
        comments_only(0.01),
        http(packed(b": x\n\n" * 209_000, 64), "content-encoding: gzip"),
        http(b"data: " + b"x" * 9 * MB),
    ]
    stub.script("primary", *(attacks * 20))
    stub.script("second", endless(event(said("word ")) * 20, first=ROLE, pace=0.02))
    stub.script("third", http(GOOD))
    memory = Memory(patient)
    memory.forget()
    before = memory()
    over = threading.Event()

    def attack() -> None:
        connection = patient.connect()
        connection.request("POST", PATH, json.dumps(STREAM), {"content-type": JSON})
        response = connection.getresponse()
        while not over.is_set() and response.read(64 * 1024):
            over.wait(0.05)
        connection.close()

    threads = [threading.Thread(target=attack, daemon=True) for _ in range(50)]
    for thread in threads:
        thread.start()
    waits = []
    try:
        for _ in range(60):
            began = time.monotonic()
            status, _, body = patient.chat(STREAM | {"model": "third"})
            waits.append(time.monotonic() - began)
            assert status == 200, body
            assert body.endswith(DONE)
        peak = memory.peak()
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    waits.sort()
    print(
        f"beside fifty hostile streams: good calls took {waits[30] * 1e3:.0f} ms at the median,"
        f" {waits[54] * 1e3:.0f} ms for nine in ten, {waits[-1] * 1e3:.0f} ms at most;"
        f" {before:.0f} -> {peak:.0f} MB"
    )
    assert waits[54] < 1.0
    assert waits[-1] < 10.0
    assert peak - before < 400
    well(patient, stub)
