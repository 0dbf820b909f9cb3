"""Errors in OpenAI's shape, and the trace that is added to bytes which otherwise stay as they came."""

import json

import pytest

from proxy.errors import MESSAGE_LIMIT, ApiError
from proxy.wire.reply import error_body, error_event, with_trace, with_trace_event

TRACE = {"route": "score", "plan": ["a", "b"]}
KURO = b'"kuro":{"route":"score","plan":["a","b"]}'


def test_error_body_has_all_four_members() -> None:
    error = ApiError(404, "no such model", code="model_not_found", param="model")
    assert json.loads(error_body(error)) == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_error_messages_are_bounded() -> None:
    assert len(json.loads(error_body(ApiError(500, "x" * 10_000)))["error"]["message"]) == MESSAGE_LIMIT


def test_error_event_is_one_event_on_one_line() -> None:
    event = error_event(ApiError(502, "line one\nline two"))
    assert event.startswith(b'data: {"error":') and event.endswith(b"}\n\n")
    assert event.count(b"\n") == 2


REPLIES = {
    "a compact reply": (b'{"id":"x"}', b'{"id":"x",' + KURO + b"}"),
    "numbers and escapes stay as they were written": (
        rb'{"a":1e5,"b":-0,"c":"\u00e9"}',
        rb'{"a":1e5,"b":-0,"c":"\u00e9",' + KURO + b"}",
    ),
    "white space stays": (b'{ "id": "x" }\n', b'{ "id": "x" ,' + KURO + b"}\n"),
    "an empty object": (b"{}", b"{" + KURO + b"}"),
    "a brace in a string": (b'{"id":"}"}', b'{"id":"}",' + KURO + b"}"),
    "a trace of the upstream's own is replaced": (b'{"kuro":1,"id":2}', KURO.join((b"{", b',"id":2}'))),
    "an array": (b"[]", b"[]"),
    "no JSON": (b"<html>{}</html>", b"<html>{}</html>"),
    "no bytes": (b"", b""),
    "too deep to decode": (b"[" * 5000 + b"]" * 5000, b"[" * 5000 + b"]" * 5000),
    "bad UTF-8": (b'{"a":"\xff"}', b'{"a":"\xff"}'),
}


@pytest.mark.parametrize(("reply", "expected"), REPLIES.values(), ids=REPLIES.keys())
def test_trace_in_a_reply(reply: bytes, expected: bytes) -> None:
    assert with_trace(reply, TRACE) == expected


EVENTS = {
    "one event": (b'data: {"id":1}\n\n', b'data: {"id":1,' + KURO + b"}\n\n"),
    "only the first of two": (
        b'data: {"id":1}\n\ndata: {"id":2}\n\n',
        b'data: {"id":1,' + KURO + b'}\n\ndata: {"id":2}\n\n',
    ),
    "comments before it stay": (
        b': ping\n\n: pong\n\ndata: {"id":1}\n\n',
        b': ping\n\n: pong\n\ndata: {"id":1,' + KURO + b"}\n\n",
    ),
    "a comment that looks like data": (
        b': data: {}\n\ndata: {"id":1}\n\n',
        b': data: {}\n\ndata: {"id":1,' + KURO + b"}\n\n",
    ),
    "a named event keeps its name": (
        b'event: chunk\ndata: {"id":1}\n\n',
        b'event: chunk\ndata: {"id":1,' + KURO + b"}\n\n",
    ),
    "no space after the colon": (b'data:{"id":1}\n\n', b'data: {"id":1,' + KURO + b"}\n\n"),
    "CRLF": (b'data: {"id":1}\r\n\r\n', b'data: {"id":1,' + KURO + b"}\r\n\r\n"),
    "CR": (b'data: {"id":1}\r\r', b'data: {"id":1,' + KURO + b"}\r\r"),
    "a payload on two lines": (
        b'data: {"id":\ndata: {}}\n\n',
        b'data: {"id":\ndata: {},' + KURO + b"}\n\n",
    ),
    "the end alone": (b"data: [DONE]\n\n", b"data: [DONE]\n\n"),
    "comments alone": (b": ping\n\n", b": ping\n\n"),
    "data without a colon": (b"data\n\n", b"data\n\n"),
    "another field's name": (b'datax: {"id":1}\n\n', b'datax: {"id":1}\n\n'),
}


@pytest.mark.parametrize(("events", "expected"), EVENTS.values(), ids=EVENTS.keys())
def test_trace_in_a_stream(events: bytes, expected: bytes) -> None:
    assert with_trace_event(events, TRACE) == expected


def test_events_without_a_place_for_it_come_back_as_the_same_object() -> None:
    events = b": ping\n\n"
    assert with_trace_event(events, TRACE) is events
