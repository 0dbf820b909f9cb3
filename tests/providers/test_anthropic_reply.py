"""Anthropic's messages as chat.completions, held against OpenAI's own types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion

from proxy.providers.anthropic import AnthropicCodec
from proxy.types import Chunk, FailureKind, Usage

CODEC = AnthropicCodec(now=lambda: 1_700_000_000.9)
TEXT = {"type": "text", "text": "Hi"}
THOUGHT = {"type": "thinking", "thinking": "hmm", "signature": "c2ln"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}


def message(*content: Any, stop_reason: str = "end_turn", **usage: Any) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-m", "content": list(content),
        "stop_reason": stop_reason, "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 4} | usage,
    }  # fmt: skip


def decode(body: Any) -> tuple[Chunk, ChatCompletion]:
    raw = json.dumps(body).encode()
    Message.model_validate_json(raw)
    chunk = CODEC.decode(raw)
    return chunk, ChatCompletion.model_validate_json(chunk.data, strict=True)


def test_text() -> None:
    chunk, completion = decode(message(TEXT))
    assert (chunk.text, chunk.finish_reason, chunk.model) == ("Hi", "stop", "claude-m")
    assert (chunk.meaningful, chunk.done, chunk.events, chunk.failure) == (True, True, 1, None)
    assert chunk.usage == Usage(prompt=10, completion=4)
    assert (completion.id, completion.model, completion.created) == ("msg_1", "claude-m", 1_700_000_000)
    assert completion.choices[0].message.content == "Hi"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 14


def test_thinking_and_parallel_tools() -> None:
    chunk, completion = decode(
        message(THOUGHT, TEXT, USE, USE | {"id": "toolu_2", "input": {}}, stop_reason="tool_use")
    )
    said = completion.choices[0].message
    assert chunk.tool_call
    assert said.content == "Hi"
    assert said.reasoning_content == "hmm"  # type: ignore[attr-defined]
    assert [call.model_dump() for call in said.tool_calls or ()] == [
        {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "toolu_2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]
    assert completion.choices[0].finish_reason == "tool_calls"


def test_only_tools_have_no_content() -> None:
    _, completion = decode(message(USE, stop_reason="tool_use"))
    assert completion.choices[0].message.content is None


def test_usage_with_cache() -> None:
    chunk, completion = decode(
        message(
            TEXT,
            cache_read_input_tokens=100,
            cache_creation_input_tokens=10,
            output_tokens_details={"thinking_tokens": 3},
        )
    )
    assert chunk.usage == Usage(prompt=120, completion=4, cached=100, reasoning=3)
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 120
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 100


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_stop_reasons(stop_reason: str, finish_reason: str) -> None:
    chunk, completion = decode(message(TEXT, stop_reason=stop_reason))
    assert completion.choices[0].finish_reason == chunk.finish_reason == finish_reason


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(b"", FailureKind.BAD_RESPONSE, id="nothing"),
        pytest.param(b"<html>", FailureKind.BAD_RESPONSE, id="a web page"),
        pytest.param(b'{"id":"x"}', FailureKind.BAD_RESPONSE, id="no content"),
        pytest.param(
            b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
            FailureKind.OVERLOADED,
            id="an error",
        ),
    ],
)
def test_what_is_no_reply(body: bytes, kind: FailureKind) -> None:
    chunk = CODEC.decode(body)
    assert chunk.failure is not None
    assert chunk.failure.kind is kind
    assert chunk.data == b""


def test_odd_content_is_survived() -> None:
    body = message("x", None, {"type": "text", "text": 7}, {"type": "tool_use", "input": "x"}, TEXT)
    body |= {
        "usage": {"input_tokens": "x", "output_tokens": 1e99},
        "model": None,
        "id": 7,
        "stop_reason": None,
    }
    completion = ChatCompletion.model_validate_json(CODEC.decode(json.dumps(body).encode()).data)
    assert completion.choices[0].message.content == "Hi"
