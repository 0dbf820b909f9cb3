"""The stub upstream does what its scripts say, in both dialects, down to the bytes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import anthropic.types
import httpx
import openai.types.chat
import pytest

from tests.stub import (
    STORY,
    Behaviour,
    End,
    StubUpstream,
    Tokens,
    Tool,
    bad_gzip,
    bad_json_event,
    byte_by_byte,
    close_before_headers,
    comments_only,
    cut_after,
    empty_stream,
    error_in_200,
    fail,
    garbage,
    gated,
    gzipped,
    hang,
    headers_then_silence,
    html,
    interim,
    no_done,
    no_finish,
    ok,
    prefill,
    raw,
    redirect,
    refuse_prefill,
    reset_before_headers,
    slow_body,
    unstreamed,
    wrong_type,
)

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
LOOK_UP = Tool("look_up", '{"city": "Kraków", "days": 3}')


@pytest.fixture
def stub() -> Iterator[StubUpstream]:
    with StubUpstream() as stub:
        yield stub


def body_of(model: str = "m", *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream} | fields


def ask(stub: StubUpstream, body: dict[str, Any], path: str = PATHS["openai"]) -> httpx.Response:
    return httpx.post(stub.origin + path, json=body, timeout=5, trust_env=False, verify=False)


def request_bytes(body: dict[str, Any], path: str = PATHS["openai"], headers: str = "") -> bytes:
    content = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\n{headers}content-length: {len(content)}\r\n\r\n".encode() + content


def conversation(stub: StubUpstream, body: dict[str, Any], path: str = PATHS["openai"]) -> bytes:
    """Every byte that the stub sends until the connection ends; b"RST" stands for a reset."""
    received = b""
    with socket.create_connection(("127.0.0.1", stub.port), timeout=5) as sock:
        sock.sendall(request_bytes(body, path, "connection: close\r\n"))
        try:
            while data := sock.recv(65536):
                received += data
        except ConnectionResetError:
            received += b"RST"
    return received


def events_of(text: str) -> list[Any]:
    """The data of every event, parsed where it is JSON."""
    data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(part) if part.startswith("{") else part for part in data]


# --- good answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [
        ok("hello world"),
        ok("", tools=[LOOK_UP]),
        ok("so", reasoning="let me think"),
        ok("hi", finish_reason="length"),
    ],
    ids=["text", "tool call", "reasoning", "cut by length"],
)
def test_a_whole_answer_is_what_the_sdks_expect(stub: StubUpstream, behaviour: Behaviour) -> None:
    stub.script("m", behaviour)
    openai.types.chat.ChatCompletion.model_validate(ask(stub, body_of()).json(), strict=False)
    anthropic.types.Message.model_validate(ask(stub, body_of(), PATHS["anthropic"]).json())


def test_a_stream_says_the_same_as_the_whole_answer(stub: StubUpstream) -> None:
    stub.script("m", ok("one two three", tools=[LOOK_UP]))
    whole = ask(stub, body_of()).json()["choices"][0]
    *chunks, done = events_of(ask(stub, body_of(stream=True)).text)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert "".join(delta.get("content") or "" for delta in deltas) == whole["message"]["content"]
    assert "".join(call["function"]["arguments"] for call in calls) == LOOK_UP.arguments
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["finish_reason"] == "tool_calls"
    assert done == "[DONE]"


def test_an_anthropic_stream_says_the_same_as_the_whole_answer(stub: StubUpstream) -> None:
    stub.script("m", ok("one two three", tools=[LOOK_UP], reasoning="hm hm"))
    whole = ask(stub, body_of(), PATHS["anthropic"]).json()
    events = events_of(ask(stub, body_of(stream=True), PATHS["anthropic"]).text)
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == whole["content"][1]["text"]
    assert (
        json.loads("".join(delta.get("partial_json", "") for delta in deltas)) == whole["content"][2]["input"]
    )
    assert events[0]["type"] == "message_start"
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]


@pytest.mark.parametrize(("asked", "shown"), [(False, 0), (True, 1)], ids=["not asked", "asked"])
def test_the_usage_chunk_comes_only_when_asked_for(stub: StubUpstream, asked: bool, shown: int) -> None:
    stub.script("m", ok(usage=Tokens(7, 3)))
    text = ask(stub, body_of(stream=True, stream_options={"include_usage": asked})).text
    usages = [event for event in events_of(text)[:-1] if event.get("usage")]
    assert [event["usage"]["total_tokens"] for event in usages] == [10] * shown


def test_n_gives_as_many_choices(stub: StubUpstream) -> None:
    assert len(ask(stub, body_of(n=3)).json()["choices"]) == 3


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_every_framing_carries_the_same_answer(stub: StubUpstream, framing: str, stream: bool) -> None:
    stub.script("m", ok("a b c", framing=framing), ok("a b c"))
    assert ask(stub, body_of(stream=stream)).content == ask(stub, body_of(stream=stream)).content


@pytest.mark.parametrize(
    "wrap",
    [byte_by_byte, gzipped, interim, lambda base: slow_body(0.0, base, size=7)],
    ids=["byte by byte", "gzipped", "after interim responses", "slow body"],
)
def test_odd_deliveries_carry_the_same_answer(stub: StubUpstream, wrap: Any) -> None:
    stub.script("m", wrap(ok("a b c")), ok("a b c"))
    assert ask(stub, body_of(stream=True)).content == ask(stub, body_of(stream=True)).content


def test_prefill_goes_on_where_the_assistant_turn_ends(stub: StubUpstream) -> None:
    assert len(STORY.split()) == 60
    stub.script("m", prefill())
    told = STORY[:40]
    turns = [{"role": "user", "content": "Go on"}, {"role": "assistant", "content": told}]
    message = ask(stub, body_of(messages=turns)).json()["choices"][0]["message"]
    assert told + message["content"] == STORY
    stub.script("m", refuse_prefill())
    assert ask(stub, body_of(messages=turns)).status_code == 400
    assert ask(stub, body_of()).status_code == 200


# --- failures ------------------------------------------------------------------------------------

CHUNKED_END = b"0\r\n\r\n"
LAST_WORD = b'"finish_reason":null}]}\n\n\r\n'
FINISHED = b'"finish_reason":"stop"}]}\n\n\r\n'

FAILURES: list[tuple[str, Behaviour, bool, bytes, bytes]] = [
    # what, behaviour, streamed, begins with, ends with
    ("reset before the head", reset_before_headers(), False, b"RST", b"RST"),
    ("closed before the head", close_before_headers(), False, b"", b""),
    ("not HTTP", garbage(), False, b"\x16", b"\r\n\r\n"),
    ("bytes of the test's own", raw(b"HTTP/1.1 200"), False, b"HTTP/1.1 200", b"HTTP/1.1 200"),
    ("a redirect", redirect("http://elsewhere/"), False, b"HTTP/1.1 307", b"req_stub\r\n\r\n"),
    ("a page", html(), False, b"HTTP/1.1 200", b"</html>"),
    ("cut by FIN", cut_after(2, ok("a b c")), True, b"HTTP/1.1 200", LAST_WORD),
    ("cut by RST", cut_after(2, ok("a b c"), end=End.RST), True, b"HTTP/1.1 200", b"RST"),
    ("half a body", cut_after(0, ok("a b c")), False, b"HTTP/1.1 200", b""),
    ("no [DONE]", no_done(), True, b"HTTP/1.1 200", FINISHED + CHUNKED_END),
    (
        "no finish",
        no_finish(ok("a")),
        True,
        b"HTTP/1.1 200",
        b'"finish_reason":null}]}\n\n\r\n' + CHUNKED_END,
    ),
    ("an empty stream", empty_stream(), True, b"HTTP/1.1 200", b"\r\n\r\n" + CHUNKED_END),
]


@pytest.mark.parametrize(
    ("behaviour", "stream", "begins", "ends"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES]
)
def test_failures_look_like_this_on_the_wire(
    stub: StubUpstream, behaviour: Behaviour, stream: bool, begins: bytes, ends: bytes
) -> None:
    stub.script("m", behaviour)
    received = conversation(stub, body_of(stream=stream))
    assert received.startswith(begins)
    assert received.endswith(ends)


def test_a_cut_body_is_shorter_than_its_content_length(stub: StubUpstream) -> None:
    stub.script("m", cut_after(0, ok("a b c")))
    with pytest.raises(httpx.RemoteProtocolError):
        ask(stub, body_of())


def test_cut_after_counts_events_with_the_role_as_the_first(stub: StubUpstream) -> None:
    stub.script("m", cut_after(3, ok("a b c d")))
    received = conversation(stub, body_of(stream=True)).decode()
    assert [event["choices"][0]["delta"].get("content") for event in events_of(received)] == ["", "a", " b"]


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_an_error_status_speaks_the_dialect(stub: StubUpstream, path: str) -> None:
    stub.script("m", fail(429, "slow down", retry_after=2))
    response = ask(stub, body_of(), path)
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert response.json()["error"]["message"] == "slow down"
    assert ("type" in response.json()) is (path == PATHS["anthropic"])


def test_an_error_inside_a_200_is_the_body_or_the_next_event(stub: StubUpstream) -> None:
    stub.script("m", error_in_200(529, after=2))
    assert ask(stub, body_of()).json()["error"]["type"] == "overloaded_error"
    assert list(map(list, events_of(ask(stub, body_of(stream=True)).text)))[-1] == ["error"]
    assert "event: error\n" in ask(stub, body_of(stream=True), PATHS["anthropic"]).text


def test_a_bad_event_stands_where_it_was_put(stub: StubUpstream) -> None:
    stub.script("m", bad_json_event(2, ok("a b")))
    lines = [line for line in ask(stub, body_of(stream=True)).text.splitlines() if line]
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[2].removeprefix("data: "))


@pytest.mark.parametrize(
    ("behaviour", "header", "value"),
    [
        (wrong_type("text/plain"), "content-type", "text/plain"),
        (unstreamed(), "content-type", "application/json"),
        (ok(headers={"x-odd": "1"}), "x-odd", "1"),
    ],
    ids=["wrong type", "not streamed", "extra header"],
)
def test_headers_are_as_scripted(stub: StubUpstream, behaviour: Behaviour, header: str, value: str) -> None:
    stub.script("m", behaviour)
    assert ask(stub, body_of(stream=True)).headers[header] == value


def test_bad_gzip_cannot_be_decoded(stub: StubUpstream) -> None:
    stub.script("m", bad_gzip())
    with pytest.raises(httpx.DecodingError):
        ask(stub, body_of())


# --- scripts and records -------------------------------------------------------------------------


def test_behaviours_are_taken_in_order_and_the_last_repeats(stub: StubUpstream) -> None:
    stub.script("m", fail(500), fail(429), ok())
    assert [ask(stub, body_of()).status_code for _ in range(4)] == [500, 429, 200, 200]
    assert ask(stub, body_of("other")).status_code == 200
    assert (stub.hits("m"), stub.hits("other"), stub.hits("never"), stub.total_hits) == (4, 1, 0, 5)


def test_a_request_is_recorded_as_it_was_sent(stub: StubUpstream) -> None:
    headers = [("X-B", "2"), ("x-A", "1")]
    httpx.post(f"{stub.url}/chat/completions?q=1", json=body_of(), headers=headers, trust_env=False)
    received = stub.last("m")
    assert (received.method, received.path, received.target) == (
        "POST",
        "/v1/chat/completions",
        "/v1/chat/completions?q=1",
    )
    assert [pair for pair in received.headers if pair in headers] == headers
    assert received.json == json.loads(received.body) == body_of()
    assert received.header("x-a") == "1"


def test_a_chunked_request_is_read_whole(stub: StubUpstream) -> None:
    parts = [b'{"model": ', b'"m"}']
    httpx.post(f"{stub.url}/chat/completions", content=iter(parts), trust_env=False)
    assert stub.last("m").body == b'{"model": "m"}'


def test_an_unknown_path_is_404(stub: StubUpstream) -> None:
    assert ask(stub, body_of(), "/v1/nothing").status_code == 404


@pytest.mark.parametrize(
    "behaviour",
    [hang(), headers_then_silence(), headers_then_silence(2), comments_only(0.001), ok(delay=60)],
    ids=["no head", "no event", "two events", "comments", "a slow head"],
)
def test_a_client_that_leaves_is_noticed(stub: StubUpstream, behaviour: Behaviour) -> None:
    stub.script("m", behaviour)
    with socket.create_connection(("127.0.0.1", stub.port)) as sock:
        sock.sendall(request_bytes(body_of(stream=True)))
        received = stub.block_hits("m", 1)
        assert not received.disconnected
    received.disconnected.block()
    assert not received.answered


def test_a_client_that_stays_is_not_called_gone(stub: StubUpstream) -> None:
    ask(stub, body_of(stream=True))
    stub.last("m").answered.block()
    assert not stub.last("m").disconnected


# --- waiting and gates ---------------------------------------------------------------------------


async def test_a_gate_holds_requests_until_released(stub: StubUpstream) -> None:
    gate = stub.gate("m")
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        tasks = [
            asyncio.create_task(client.post(f"{stub.url}/chat/completions", json=body_of())) for _ in "abc"
        ]
        await gate.wait(3)
        await stub.wait_hits("m", 3)
        assert not any(task.done() for task in tasks)
        gate.release(1)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        gate.release()
        assert {(await task).status_code for task in tasks} == {200}


async def test_a_gate_can_stand_in_the_middle_of_a_stream() -> None:
    async with StubUpstream() as stub, httpx.AsyncClient(trust_env=False, verify=False) as client:
        gate = stub.gate("other")
        stub.script("m", gated(gate, ok("a b"), at=2))
        async with client.stream(
            "POST", f"{stub.url}/chat/completions", json=body_of(stream=True)
        ) as response:
            parts = response.aiter_text()
            seen = ""
            while '"a"' not in seen:
                seen += await anext(parts)
            assert '" b"' not in seen
            gate.release()
            async for part in parts:
                seen += part
        assert events_of(seen)[-1] == "[DONE]"


async def test_waiting_in_vain_is_bounded() -> None:
    async with StubUpstream() as stub:
        with pytest.raises(TimeoutError):
            await stub.wait_hits("m", 1, timeout=0.01)


# --- connections ---------------------------------------------------------------------------------


@pytest.mark.parametrize("requests", [1, 2], ids=["one", "two"])
def test_a_connection_is_closed_after_so_many_requests(requests: int) -> None:
    with StubUpstream(close_after=requests) as stub:
        with socket.create_connection(("127.0.0.1", stub.port), timeout=5) as sock:
            sock.sendall(request_bytes(body_of()) * 3)
            answers = b"".join(iter(lambda: sock.recv(65536), b""))
        assert answers.count(b"HTTP/1.1 200") == stub.hits("m") == requests


def test_a_connection_is_kept_for_the_next_request(stub: StubUpstream) -> None:
    with httpx.Client(trust_env=False, verify=False) as client:
        for _ in range(4):
            client.post(f"{stub.url}/chat/completions", json=body_of())
    assert (stub.connections, stub.hits("m")) == (1, 4)


def test_a_dropped_request_meets_a_closed_connection() -> None:
    with StubUpstream(drop_after=1) as stub, httpx.Client(trust_env=False, verify=False) as client:
        client.post(f"{stub.url}/chat/completions", json=body_of())
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(f"{stub.url}/chat/completions", json=body_of())
        assert (stub.hits("m"), stub.dropped) == (1, 1)
