"""Every row of CONTRACT's verdict table, met by a caller over sockets: one proxy, a model for each case."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.heard import listen
from tests.e2e.kuro import ADMIN, Kuro, in_background, model, write_config
from tests.e2e.verdict_rows import ALONE, ANTHROPIC, BACKED, CASES, OPENAI, SPARE, STREAM, Case
from tests.stub import Gate, StubUpstream, close_before_headers, fail, gated, hang, ok

MESSAGES = [{"role": "user", "content": "Hello there."}]
RETRY_HEADERS = ("retry-after", "retry-after-ms")


@pytest.fixture(scope="module")
def stub() -> Iterator[StubUpstream]:
    with StubUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def stale() -> Iterator[StubUpstream]:
    """An upstream whose connections are closed as soon as they are used for a second time."""
    with StubUpstream(drop_after=1) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def places(stub: StubUpstream) -> Iterator[dict[str, str]]:
    """Where base URLs may lead: the stub, a closed port, one that isn't TLS, one that takes nobody in."""
    with contextlib.ExitStack() as held:
        refusing = held.enter_context(socket.socket())
        refusing.bind(("127.0.0.1", 0))
        full = held.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):  # as many as the kernel takes beyond a backlog of none
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        plain = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        speaker = threading.Thread(target=_speak_plainly, args=(plain,))
        speaker.start()
        held.callback(speaker.join)
        held.callback(plain.shutdown, socket.SHUT_RDWR)
        yield {
            "stub": stub.url,
            "refusing": _address(refusing),
            "full": _address(full),
            "plain": _address(plain),
        }


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


def _speak_plainly(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


LEAVING: dict[str, Any] = {
    "while it waits for the head": hang(),
    "in back-off": fail(429, headers={"retry-after-ms": "1900"}),
    "in the middle of the stream": gated(Gate(), ok("one two three"), at=3),
}

OTHERS = [
    model(SPARE, provider=OPENAI, context_window=1_000_000),
    model("stale", provider="stale"),
    model("crowd", provider="crowded", timeouts={"connect": 0.2}),
    model("crowded", provider="crowded", timeouts={"connect": 0.2}),
    model("crowded-backed", provider="crowded", timeouts={"connect": 0.2}, fallback=[SPARE]),
    model("twice-missing"),
    model("slow"),
    model("long-winded", fallback=[SPARE]),
    model("hurried", fallback=[SPARE], timeouts={"connect": 0.5, "first_token": 0.5, "total": 0.5}),
    model("slow-backed", fallback=[SPARE]),
    *[model(f"left-{when.replace(' ', '-')}") for when in LEAVING],
    model("small", fallback=["as-small"]),
    model("as-small"),
    model("useful", fallback=["useless"]),
    model("useless"),
]


@pytest.fixture(scope="module")
def proxy(
    stub: StubUpstream, stale: StubUpstream, places: dict[str, str], tmp_path_factory: Any
) -> Iterator[Kuro]:
    providers = {
        OPENAI: {"dialect": OPENAI, "base_url": stub.url, "api_key": "sk-o"},
        ANTHROPIC: {"dialect": ANTHROPIC, "base_url": stub.url, "api_key": "sk-a"},
        "stale": {"dialect": OPENAI, "base_url": stale.url, "api_key": "sk-s"},
        "crowded": {"dialect": OPENAI, "base_url": stub.url, "api_key": "sk-c", "max_connections": 1},
    }
    for case in CASES:
        if case.row.own_provider:
            url = case.row.base_url.format(**places)
            providers[case.provider] = {"dialect": case.dialect, "base_url": url, "api_key": "sk-x"}
    config = write_config(
        tmp_path_factory.mktemp("verdicts"),
        stub.url,
        [*(case.entry() for case in CASES), *OTHERS],
        providers=providers,
        # The budget is the process's: with it, rows would speak to each other.
        proxy={
            "admin_key": ADMIN,
            "retries": {"base_delay": 0.001, "budget_floor": 1000},
            "telemetry": {"records": {"interval": 0.005}},
        },
    )
    with Kuro(config) as kuro:
        yield kuro


@dataclass(frozen=True)
class Told:
    """What a caller got."""

    status: int
    headers: dict[str, str]
    error: dict[str, Any]
    text: str


def call(kuro: Kuro, name: str, stream: bool = False, **headers: str) -> Told:
    body = {"model": name, "messages": MESSAGES}
    if stream:
        heard = listen(kuro, body, {key.replace("_", "-"): value for key, value in headers.items()})
        return Told(heard.status, heard.headers, heard.errors[0] if heard.errors else {}, heard.text)
    status, found, answer = kuro.chat(body, **headers)
    if status != 200:
        return Told(status, found, answer["error"], "")
    return Told(status, found, {}, answer["choices"][0]["message"]["content"])


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_row(proxy: Kuro, stub: StubUpstream, case: Case) -> None:
    row = case.row
    stub.script(case.model, row.behaviour)
    spared, before = stub.hits(SPARE), stub.total_hits
    told = call(proxy, case.model, case.mode == STREAM)
    falls_over = case.backed and not row.passes

    if "http" not in row.base_url:
        assert stub.hits(case.model) == case.tries
        assert stub.total_hits - before == case.tries + falls_over, "nobody else was asked for anything"
    assert stub.hits(SPARE) - spared == falls_over
    if falls_over:
        assert (told.status, told.text) == (200, f"Hello from {SPARE}.")
        assert told.headers["x-kuro-model"] == SPARE
    else:
        refused_as_the_row_says(told, case)
    assert told.headers["x-kuro-attempts"] == str(case.tries + falls_over)
    assert told.headers["x-kuro-fallback"] == ("true" if falls_over else "false")

    recorded_as_the_row_says(proxy.record(told.headers["x-request-id"]), case, falls_over)
    circuit = proxy.circuit(case.model)
    assert circuit["state"] == ("open" if row.opens else "closed"), circuit
    assert circuit["window_failures" if not row.opens else "failures"] == (case.tries if row.counted else 0)
    if row.opens:
        assert circuit["retry_after"] > 200, "long"
        assert proxy.lines(lambda line: line.get("event") == "circuit" and line["model"] == case.model)
    assert (circuit["throttled_for"] > 0.0) is row.gated or row.retry_after == 0.1

    if row.opens or (row.gated and row.retry_after != 0.1):
        shut_out(proxy, stub, case)


def refused_as_the_row_says(told: Told, case: Case) -> None:
    row = case.row
    assert (told.status, told.error["code"], told.error["type"]) == (row.status, row.code, row.type)
    assert set(told.error) == {"message", "type", "param", "code"}
    assert row.message in told.error["message"]
    for secret in ("127.0.0.1", "sk-", "Traceback"):
        assert secret not in told.error["message"]
    if row.retry_after is None:
        assert told.headers["x-should-retry"] == "false"
        assert not [name for name in RETRY_HEADERS if name in told.headers]
    else:
        assert told.headers["x-should-retry"] == "true"
        assert float(told.headers["retry-after-ms"]) == pytest.approx(row.retry_after * 1e3)
        assert int(told.headers["retry-after"]) == max(1, round(row.retry_after))


def recorded_as_the_row_says(record: dict[str, Any], case: Case, falls_over: bool) -> None:
    row = case.row
    assert record["intent"] is None, "a model by name is not classified"
    assert record["fallback_used"] is falls_over
    assert record["latency_ms"] > 0
    failed = [(case.model, "failed", row.kind)] * case.tries
    ok_after = [(SPARE, "ok", None)] if falls_over else []
    assert [(a["model"], a["outcome"], a["failure"]) for a in record["attempts"]] == failed + ok_after
    if falls_over:
        assert (record["outcome"], record["status"], record["selected_model"]) == ("ok", 200, SPARE)
    else:
        assert (record["outcome"], record["status"]) == ("error", row.status)
        assert (record["error_code"], record["selected_model"]) == (row.code, None)
        assert record["cost_usd"] is None


def shut_out(proxy: Kuro, stub: StubUpstream, case: Case) -> None:
    """The next call doesn't reach the upstream."""
    hits = stub.hits(case.model)
    told = call(proxy, case.model)
    assert stub.hits(case.model) == hits
    if case.backed:
        assert told.text == f"Hello from {SPARE}."
        return
    ours = case.row.code in ("upstream_auth_error", "upstream_quota_exhausted")
    if ours or case.row.gated:  # it is told as it was the first time
        assert (told.status, told.error["code"]) == (case.row.status, case.row.code)
        assert told.error["type"] == case.row.type
        assert not ours or "the proxy's own" in told.error["message"]
    else:
        assert (told.status, told.error["code"]) == (503, "no_healthy_upstream")
    assert told.headers["x-kuro-attempts"] == "0"
    assert int(told.headers["retry-after"]) > 20
    # SDKs wait no longer than two minutes.
    assert told.headers["x-should-retry"] == ("false" if case.row.opens else "true")
    record = proxy.record(told.headers["x-request-id"])
    assert [a["outcome"] for a in record["attempts"]] == ["skipped"]
    assert record["outcome"] == "error", "an outage is one, also while nobody is asked"


# --- rows that take more than one behaviour ---------------------------------------------------------


def test_a_stale_connection_is_replaced_once_and_free(proxy: Kuro, stale: StubUpstream) -> None:
    call(proxy, "stale")
    told = call(proxy, "stale")
    assert (told.status, stale.hits("stale"), stale.dropped) == (200, 2, 1)
    record = proxy.record(told.headers["x-request-id"])
    assert [a["failure"] for a in record["attempts"]] == ["stale_connection", None]
    assert proxy.circuit("stale")["window_failures"] == 0


def test_only_the_failure_after_a_stale_connection_counts(proxy: Kuro, stale: StubUpstream) -> None:
    stale.script("stale", ok(), close_before_headers())
    call(proxy, "stale")  # leaves a connection that will be stale
    before = stale.hits("stale"), proxy.circuit("stale")["window_failures"]
    told = call(proxy, "stale")
    assert (told.status, told.error["code"]) == (502, "upstream_disconnected")
    assert (stale.hits("stale"), proxy.circuit("stale")["window_failures"]) == (before[0] + 1, before[1] + 1)
    record = proxy.record(told.headers["x-request-id"])
    assert [a["failure"] for a in record["attempts"]] == ["stale_connection", "disconnected"]


def test_a_model_missing_twice_in_a_row_opens_its_circuit(proxy: Kuro, stub: StubUpstream) -> None:
    stub.script("twice-missing", fail(404))
    states = []
    for _ in range(2):
        call(proxy, "twice-missing")
        states.append(proxy.circuit("twice-missing")["state"])
    assert states == ["closed", "open"]


def test_a_context_too_long_is_not_taken_to_a_window_as_small(proxy: Kuro, stub: StubUpstream) -> None:
    stub.script("small", fail(400, code="context_length_exceeded"))
    told = call(proxy, "small")
    assert (told.status, told.error["code"]) == (400, "context_length_exceeded")
    assert stub.hits("as-small") == 0


def test_the_most_useful_error_is_told_not_the_last(proxy: Kuro, stub: StubUpstream) -> None:
    stub.script("useful", fail(429, retry_after=30))
    stub.script("useless", fail(401))
    told = call(proxy, "useful")
    assert (told.status, told.headers["retry-after"]) == (429, "30")
    assert "useless" in told.error["message"]


@pytest.mark.parametrize("name", ["crowded", "crowded-backed"], ids=[ALONE, BACKED])
def test_our_own_pool_is_never_counted_against_the_upstream(
    proxy: Kuro, stub: StubUpstream, name: str
) -> None:
    gate = Gate()
    stub.script("crowd", gated(gate, ok()))
    with in_background(lambda: call(proxy, "crowd")):
        gate.block(1)
        told = call(proxy, name)
        gate.release()
    assert stub.hits(name) == 0
    if name == "crowded":
        assert (told.status, told.error["code"]) == (503, "proxy_overloaded")
        assert (told.headers["retry-after"], told.headers["x-should-retry"]) == ("1", "true")
    else:
        assert told.text == f"Hello from {SPARE}."
    assert proxy.circuit(name)["window_results"] == 0
    record = proxy.record(told.headers["x-request-id"])
    assert record["attempts"][0]["failure"] == "local_limit"


@pytest.mark.parametrize("stream", [True, False], ids=["as a stream", "whole"])
def test_the_callers_own_deadline_is_nobodys_failure(proxy: Kuro, stub: StubUpstream, stream: bool) -> None:
    stub.script("slow", hang())
    told = call(proxy, "slow", stream, x_request_timeout="0.2")
    assert (told.status, told.error["code"], told.error["type"]) == (504, "request_timeout", "timeout_error")
    assert told.headers["x-should-retry"] == "false"
    record = proxy.record(told.headers["x-request-id"])
    assert [a["failure"] for a in record["attempts"]] == ["deadline"]
    assert proxy.circuit("slow")["window_results"] == 0


DEADLINES: dict[str, Any] = {
    "the caller's": ("long-winded", {"x_request_timeout": "0.5"}),
    "the model's own": ("hurried", {}),
}


@pytest.mark.parametrize(("name", "headers"), DEADLINES.values(), ids=DEADLINES.keys())
def test_a_stream_that_has_begun_ends_at_the_deadline_too(
    proxy: Kuro, stub: StubUpstream, name: str, headers: dict[str, str]
) -> None:
    stub.script(name, ok("word " * 100, pace=0.05))
    began = time.monotonic()
    told = call(proxy, name, stream=True, **headers)
    assert 0.5 <= time.monotonic() - began < 1.5
    assert told.text.startswith("word word")
    assert told.error["code"] == "request_timeout"
    record = proxy.record(told.headers["x-request-id"])
    assert (record["outcome"], record["error_code"]) == ("aborted", "request_timeout")
    assert [a["failure"] for a in record["attempts"]] == ["deadline"]
    assert record["fallback_used"] is False
    assert proxy.circuit(name)["window_failures"] == 0
    stub.last(name).disconnected.block(1.0)


def test_half_of_the_callers_deadline_is_kept_for_the_fallback(proxy: Kuro, stub: StubUpstream) -> None:
    stub.script("slow-backed", hang())
    told = call(proxy, "slow-backed", x_request_timeout="0.6")
    assert told.text == f"Hello from {SPARE}."
    record = proxy.record(told.headers["x-request-id"])
    assert [a["failure"] for a in record["attempts"]] == ["cut_short", None]
    assert proxy.circuit("slow-backed")["window_results"] == 0


@pytest.mark.parametrize("when", LEAVING)
def test_a_caller_that_leaves_says_nothing_about_the_upstream(
    proxy: Kuro, stub: StubUpstream, when: str
) -> None:
    name = request_id = f"left-{when.replace(' ', '-')}"
    stub.script(name, LEAVING[when])
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    body = json.dumps({"model": name, "messages": MESSAGES, "stream": True})
    named = {"content-type": "application/json", "x-request-id": request_id}
    connection.request("POST", "/v1/chat/completions", body, named)
    received = stub.block_hits(name, 1)
    if "back-off" in when:
        received.answered.block()
    if "middle" in when:
        response = connection.getresponse()
        while b"two" not in response.readline():
            pass
        response.close()
    connection.close()
    record = proxy.record(request_id)
    assert (record["outcome"], record["status"]) == ("caller_left", 499)
    if "back-off" not in when:
        received.disconnected.block(1.0)
    assert stub.hits(name) == 1
    assert proxy.circuit(name)["window_failures"] == 0
    assert proxy.circuit(name)["state"] == "closed"
