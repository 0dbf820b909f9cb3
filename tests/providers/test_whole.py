"""Answers in the other form: there and back again, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.providers.openai_stream import OpenAIDecoder
from proxy.providers.whole import Gathered, streamed

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
SAID = {"role": "assistant", "content": "Hello 😀, all"}
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}], "closed": True}
PART = {"type": "text", "text": "Hello 😀"}
ENVELOPE = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "system_fingerprint": "f"}


def reply(*messages: dict[str, Any], finish: Any = "stop", **more: Any) -> dict[str, Any]:
    choices = [
        {"index": i, "message": message, "logprobs": None, "finish_reason": finish}
        for i, message in enumerate(messages)
    ]
    return {**ENVELOPE, "choices": choices, **more}


def gathered(*pieces: bytes) -> Any:
    whole = Gathered()
    for piece in pieces:
        whole.add(piece)
    body = whole.body()
    return None if body is None else json.loads(body)


def event(*choices: Any, **more: Any) -> bytes:
    return b"data: " + json.dumps({"id": "c1", "choices": [*choices], **more}).encode() + b"\n\n"


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(reply(SAID), id="a text"),
        pytest.param(reply({"role": "assistant", "content": ""}), id="nothing at all"),
        pytest.param(reply(SAID | {"reasoning_content": "Hm."}), id="thoughts"),
        pytest.param(reply(SAID | {"content": [THOUGHT, PART]}), id="parts"),
        pytest.param(reply({"role": "assistant", "content": None, "tool_calls": [CALL, CALL | {"id": "2"}]},
                           finish="tool_calls"), id="tool calls"),
        pytest.param(reply(SAID, SAID | {"content": "Hi"}), id="two choices"),
        pytest.param(reply(SAID, usage={"prompt_tokens": 3, "completion_tokens": 2}), id="usage"),
    ],
)  # fmt: skip
def test_there_and_back_again(whole: dict[str, Any]) -> None:
    events = streamed(json.dumps(whole).encode())
    assert events is not None and events.endswith(b"data: [DONE]\n\n")
    assert gathered(events) == whole
    chunk = OpenAIDecoder(choices=len(whole["choices"])).feed(events)
    assert (chunk.failure, chunk.done) == (None, True)
    assert chunk.finish_reason == whole["choices"][0]["finish_reason"]
    said = whole["choices"][0]["message"]["content"] or ""
    assert chunk.text == (said if isinstance(said, str) else PART["text"])
    assert (chunk.usage is not None) is ("usage" in whole)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"choices": []}', id="no choice"),
        pytest.param(json.dumps(reply(SAID, finish=None)).encode(), id="no end"),
        pytest.param(json.dumps(reply(SAID | {"content": [{"text": "x"}]})).encode(), id="content in parts"),
        pytest.param(json.dumps(reply(SAID | {"tool_calls": ["x"]})).encode(), id="a call that is none"),
        pytest.param(b'{"choices": [{"text": "x", "finish_reason": "stop"}]}', id="a completion of old"),
        pytest.param(
            json.dumps(reply(SAID)).encode()[:-1] + b',"x":' + b"[" * 10**5 + b"]" * 10**5 + b"}", id="depth"
        ),
    ],
)
def test_what_is_no_complete_reply_makes_no_stream(body: bytes) -> None:
    assert streamed(body) is None


END = event({"index": 0, "delta": {}, "finish_reason": "stop"})


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([event({"index": 0, "delta": {"content": "Hi"}})], id="no end"),
        pytest.param([event({"delta": {"content": "Hi"}}, {"index": 1, "delta": {}}), END], id="half an end"),
        pytest.param([event({"delta": {"content": "Hi"}}), event({"delta": {"content": 7}}), END],
                     id="text, then a number"),
        pytest.param([event({"delta": {"content": ["Hi"]}}), END], id="a part that is none"),
        pytest.param([event({"delta": {"content": [{"type": "text", "text": "Hi"}]}}),
                      event({"delta": {"content": [{"type": "text", "text": ["Hi"]}]}}), END],
                     id="a text that is none"),
        pytest.param([event("x"), END], id="a choice that is none"),
        pytest.param([event({"index": [0], "delta": {}}), END], id="a number that is none"),
        pytest.param([event({"delta": {"tool_calls": ["x"]}}), END], id="a call that is none"),
        pytest.param([], id="nothing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_makes_no_reply(pieces: list[bytes]) -> None:
    assert gathered(*pieces) is None


def test_pieces_of_calls_are_put_together_by_number() -> None:
    def call(**members: Any) -> bytes:
        return event({"index": 0, "delta": {"tool_calls": [members]}})

    opened = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    found = gathered(
        event({"index": 0, "delta": {"role": "assistant", "content": None}}, usage=None),
        call(index=0, **opened),
        call(index=1, **opened | {"id": "b"}),
        call(index=0, function={"arguments": '{"x"'}),
        call(index=1, function={"arguments": "{}"}),
        call(index=0, id="a", function={"name": "f", "arguments": ": 1}"}),
        END,
    )
    calls = found["choices"][0]["message"]["tool_calls"]
    assert [(each["id"], each["function"]) for each in calls] == [
        ("a", {"name": "f", "arguments": '{"x": 1}'}),
        ("b", {"name": "f", "arguments": "{}"}),
    ]
    assert found["choices"][0]["message"]["content"] is None


def test_parts_go_on_where_they_were() -> None:
    def said(content: Any) -> bytes:
        return event({"index": 0, "delta": {"role": "assistant", "content": content}})

    def thought(text: str) -> bytes:
        return said([{"type": "thinking", "thinking": [{"type": "text", "text": text}]}])

    paper = {"type": "reference", "reference_ids": [1]}
    mixed = [
        thought("Let"),
        thought(" me see."),
        said([{"type": "text", "text": "On"}]),
        said("e"),
        said(" "),
    ]
    cited = [said([paper, {"type": "text", "text": "t"}]), said([paper]), said([paper]), said("wo"), said("")]
    found = gathered(said(""), *mixed, *cited, END)
    assert found["choices"][0]["message"]["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]},
        {"type": "text", "text": "One "},
        paper,
        {"type": "text", "text": "t"},
        paper,
        paper,
        {"type": "text", "text": "wo"},
    ]
    odd = [{"type": "text", "text": ["Hi"]}]
    assert gathered(said(odd), END)["choices"][0]["message"]["content"] == odd, "as it came"
    told = gathered(said([{"type": "text", "text": "On"}]), said([{"type": "text", "text": "e"}]), END)
    assert told["choices"][0]["message"]["content"] == "One", "nothing but text is a text"
