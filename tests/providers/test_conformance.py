"""Every codec of the table, over what its upstreams send: whole, byte by byte and cut at random."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from proxy.types import Chunk, Model, Provider
from proxy.wire import sse
from tests.providers.decoding import CODECS, decode, request
from tests.providers.recorded_anthropic import ANTHROPIC
from tests.providers.recorded_openai import DONE, OPENAI
from tests.providers.recording import Recording

RECORDINGS = {"openai": OPENAI, "anthropic": ANTHROPIC}

CASES = [
    pytest.param(dialect, recording, id=f"{dialect}: {recording.name}")
    for dialect in CODECS
    for recording in RECORDINGS[dialect]
]
PROVIDER = Provider("p", "any", "http://localhost", api_key="sk-secret")


@pytest.mark.parametrize(("dialect", "recording"), CASES)
def test_a_stream_says_what_it_says(dialect: str, recording: Recording) -> None:
    chunk = decode(dialect, [recording.stream], recording.asks_usage)
    assert chunk.text == recording.text
    assert chunk.finish_reason == recording.finish
    assert chunk.model == recording.model
    assert chunk.usage == recording.usage
    assert chunk.tool_call == recording.tools
    assert chunk.dropped == recording.dropped
    assert (chunk.failure.kind if chunk.failure else None) == recording.failure


@pytest.mark.parametrize(("dialect", "recording"), CASES)
def test_a_stream_byte_by_byte_is_the_same(dialect: str, recording: Recording) -> None:
    whole = decode(dialect, [recording.stream], recording.asks_usage)
    bytewise = decode(dialect, [bytes([b]) for b in recording.stream], recording.asks_usage)
    assert bytewise == whole


@pytest.mark.parametrize(("dialect", "recording"), CASES)
def test_a_stream_event_by_event_is_the_same(dialect: str, recording: Recording) -> None:
    whole = decode(dialect, [recording.stream], recording.asks_usage)
    events = recording.stream.replace(b"\n\n", b"\n\n\0").split(b"\0")
    assert decode(dialect, events, recording.asks_usage) == whole


@given(st.sampled_from(CASES), st.data())
def test_a_stream_cut_anywhere_is_the_same(case: Any, data: st.DataObject) -> None:
    dialect, recording = case.values
    stream = recording.stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert decode(dialect, pieces, recording.asks_usage) == decode(dialect, [stream], recording.asks_usage)


@pytest.mark.parametrize("recording", [pytest.param(r, id=r.name) for r in OPENAI])
def test_openai_bytes_are_relayed_as_they_came(recording: Recording) -> None:
    untouched = recording.stream.replace(b"\r\n", b"\n").replace(b"data:[", b"data: [").replace(DONE, b"")
    data = decode("openai", [recording.stream], recording.asks_usage).data
    assert data.replace(b"\r\n", b"\n") == (untouched if recording.data is None else recording.data)


@pytest.mark.parametrize("recording", [pytest.param(r, id=r.name) for r in ANTHROPIC])
def test_anthropic_deltas_add_up(recording: Recording) -> None:
    data = decode("anthropic", [recording.stream], recording.asks_usage).data
    chunks = [json.loads(event.data) for event in sse.events(data)]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    calls: list[list[str]] = []
    for part in (part for delta in deltas for part in delta.get("tool_calls", ())):
        if "id" in part:
            assert part["index"] == len(calls)
            calls.append([part["id"], part["function"]["name"], ""])
        calls[part["index"]][2] += part["function"]["arguments"]
    assert "".join(delta.get("content", "") for delta in deltas) == recording.text
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == recording.reasoning
    assert [tuple(call) for call in calls] == recording.calls
    told = [chunk["usage"] for chunk in chunks if "usage" in chunk]
    assert len(told) == (recording.asks_usage and recording.finish is not None)


@pytest.mark.parametrize(("dialect", "recording"), CASES)
def test_what_is_relayed_is_what_an_sdk_reads(dialect: str, recording: Recording) -> None:
    data = decode(dialect, [recording.stream], recording.asks_usage).data
    assert DONE not in data, "the server ends streams itself"
    events = list(sse.events(data))
    assert b"".join(event.raw for event in events) == data
    for event in events:
        assert b"\nid" not in b"\n" + event.raw
        if not event.data:
            assert event.raw.startswith(b":")
        elif recording.chunks_valid:
            ChatCompletionChunk.model_validate_json(event.data, strict=True)


@pytest.mark.parametrize(("dialect", "recording"), CASES)
def test_events_are_counted(dialect: str, recording: Recording) -> None:
    chunk = decode(dialect, [recording.stream], recording.asks_usage)
    assert chunk.events == sum(bool(event.data) for event in sse.events(chunk.data))


@pytest.mark.parametrize("dialect", CODECS)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_survived(dialect: str, pieces: list[bytes]) -> None:
    chunk = decode(dialect, pieces)
    assert chunk.failure is not None or chunk.finish_reason is not None or chunk.done


NAMES = [
    "choices", "delta", "message", "content", "index", "finish_reason", "error", "usage", "model", "object",
    "tool_calls", "type", "text", "x_groq", "prompt_tokens_details", "prompt_tokens", "code", "status", "id",
    "content_block", "stop_reason", "name", "input", "input_tokens", "output_tokens", "partial_json", "raw",
    "metadata", "detail", "details",
]  # fmt: skip
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["text", "", "stop", "error", "tool_use", "text_delta", "message_delta", "7"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
KINDS = [
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
    "message_stop", "error", "ping",
]  # fmt: skip


@pytest.mark.parametrize("dialect", CODECS)
@given(st.lists(st.tuples(st.sampled_from(KINDS), json_values), max_size=6))
def test_any_json_is_survived_and_byte_by_byte_is_the_same(
    dialect: str, values: list[tuple[str, Any]]
) -> None:
    stream = b"".join(
        b"data: %b\n\n" % json.dumps({"type": kind} | value if isinstance(value, dict) else value).encode()
        for kind, value in values
    )
    whole = decode(dialect, [stream])
    assert decode(dialect, [bytes([b]) for b in stream]) == whole
    for _, value in values:
        CODECS[dialect].decode(json.dumps(value).encode())


@pytest.mark.parametrize("dialect", CODECS)
@given(st.binary(max_size=200))
def test_any_reply_is_survived(dialect: str, body: bytes) -> None:
    assert CODECS[dialect].decode(body).failure is not None


@pytest.mark.parametrize("dialect", CODECS)
def test_an_endless_event_is_a_failure(dialect: str) -> None:
    decoder = CODECS[dialect].decoder(request())
    chunk = decoder.feed(b"data: " + b"x" * (sse.MAX_EVENT + 1))
    assert chunk.failure is not None
    assert chunk.failure.kind == "bad_response"
    assert decoder.feed(b"\n\n") == Chunk()


@pytest.mark.parametrize("dialect", CODECS)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_headers_have_the_key_and_the_configured_ones(dialect: str, stream: bool) -> None:
    provider = Provider(
        "p", dialect, "http://localhost", api_key="sk-secret", headers={"X-Title": "Kuro", "User-Agent": "me"}
    )
    encoded = CODECS[dialect].encode(request(stream=stream), Model("a", "p", "b"), provider)
    headers = dict(encoded.headers)
    assert len(headers) == len(encoded.headers), "each name once"
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"accept"] == (b"text/event-stream" if stream else b"application/json")
    assert headers[b"accept-encoding"] == b"identity"
    assert headers[b"x-title"] == b"Kuro"
    assert headers[b"user-agent"] == b"me"
    assert all(name == name.lower() for name in headers)
    assert any(b"sk-secret" in value for value in headers.values())


@pytest.mark.parametrize("dialect", CODECS)
def test_without_a_key_no_header_speaks_of_one(dialect: str) -> None:
    encoded = CODECS[dialect].encode(
        request(), Model("a", "p", "b"), Provider("p", dialect, "http://localhost")
    )
    assert not {b"authorization", b"x-api-key"} & dict(encoded.headers).keys()
    assert dict(encoded.headers)[b"user-agent"].startswith(b"kuro-proxy/")
