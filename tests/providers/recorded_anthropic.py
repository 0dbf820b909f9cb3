"""What Anthropic's Messages API streams, as seen on the wire (ids and texts made up)."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.types import FailureKind, Usage
from tests.providers.recording import Recording

_encode = msgspec.json.Encoder().encode


def anthropic_event(kind: str, **members: Any) -> bytes:
    """One event of the Messages API."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind} | members))


def started(**usage: int) -> bytes:
    """message_start."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1} | usage,
    }
    return anthropic_event("message_start", message=message)


def block(index: int, opened: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    """A content block from start to stop."""
    events = [anthropic_event("content_block_start", index=index, content_block=opened)]
    events += [anthropic_event("content_block_delta", index=index, delta=delta) for delta in deltas]
    return b"".join(events) + anthropic_event("content_block_stop", index=index)


def text_block(index: int, *texts: str) -> bytes:
    """A text block."""
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": t} for t in texts))


def tool_block(index: int, id_: str, name: str, *pieces: str) -> bytes:
    """A tool_use block."""
    opened = {"type": "tool_use", "id": id_, "name": name, "input": {}}
    return block(index, opened, *({"type": "input_json_delta", "partial_json": p} for p in pieces))


def stopped(reason: str, **usage: Any) -> bytes:
    """message_delta and message_stop."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    return anthropic_event(
        "message_delta", delta=delta, usage={"output_tokens": 5} | usage
    ) + anthropic_event("message_stop")


_PING = anthropic_event("ping")
_THOUGHT = block(
    0,
    {"type": "thinking", "thinking": "", "signature": ""},
    {"type": "thinking_delta", "thinking": "hmm "},
    {"type": "thinking_delta", "thinking": "so"},
    {"type": "signature_delta", "signature": "c2ln"},
)


COUNTED = Usage(prompt=12, completion=5)
_BROKEN_OFF = Usage(prompt=12, completion=1)


_SEARCH = block(
    0,
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
    {"type": "input_json_delta", "partial_json": "{}"},
)
_SCENTED = block(
    1,
    {"type": "text", "text": "H"},
    {"type": "text_delta", "text": "i"},
    {"type": "scent_delta"},
    {"type": "text_delta", "text": 7},
)
_UNSTOPPED = stopped("end_turn").partition(b"event: message_stop")[0]
_OVERLOADED = anthropic_event("error", error={"type": "overloaded_error", "message": "Overloaded"})
_LIMITED = anthropic_event("error", error={"type": "rate_limit_error", "message": "Too many requests"})


def _recording(name: str, stream: bytes, text: str = "", **expected: Any) -> Recording:
    return Recording(name, stream, text, **({"model": "claude-m", "usage": COUNTED} | expected))


ANTHROPIC = [
    _recording(
        "text",
        started() + _PING + text_block(0, "Hel", "lo", " wörld 🌍") + stopped("end_turn"),
        "Hello wörld 🌍",
    ),
    _recording(
        "text, usage not asked for",
        started() + text_block(0, "Hi") + stopped("stop_sequence"),
        "Hi",
        asks_usage=False,
    ),
    _recording(
        "usage with cache and thinking",
        started(cache_read_input_tokens=100, cache_creation_input_tokens=10)
        + text_block(0, "Hi")
        + stopped("end_turn", output_tokens_details={"thinking_tokens": 3}),
        "Hi",
        usage=Usage(prompt=122, completion=5, cached=100, reasoning=3),
    ),
    _recording(
        "usage told again at the end",
        started(input_tokens=0)
        + text_block(0, "Hi")
        + stopped("end_turn", input_tokens=20, cache_read_input_tokens=4, cache_creation_input_tokens=None),
        "Hi",
        usage=Usage(prompt=24, completion=5, cached=4),
    ),
    _recording(
        "thinking, then text",
        started() + _THOUGHT + text_block(1, "42") + stopped("end_turn"),
        "42",
        reasoning="hmm so",
    ),
    _recording(
        "text and two parallel tool calls",
        started()
        + text_block(0, "Let me see.")
        + tool_block(1, "toolu_a", "weather", "", '{"city":', '"Paris"}')
        + tool_block(2, "toolu_b", "time")
        + stopped("tool_use"),
        "Let me see.",
        finish="tool_calls",
        tools=True,
        calls=[("toolu_a", "weather", '{"city":"Paris"}'), ("toolu_b", "time", "{}")],
    ),
    _recording(
        "a tool call whose input comes at once",
        started()
        + block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}})
        + stopped("tool_use"),
        finish="tool_calls",
        tools=True,
        calls=[("t", "f", '{"a":1}')],
    ),
    _recording(
        "cut by max_tokens", started() + text_block(0, "Hi") + stopped("max_tokens"), "Hi", finish="length"
    ),
    _recording(
        "the context is full",
        started() + text_block(0, "Hi") + stopped("model_context_window_exceeded"),
        "Hi",
        finish="length",
    ),
    _recording("refusal", started() + stopped("refusal"), finish="content_filter"),
    _recording("pause_turn", started() + text_block(0, "Hi") + stopped("pause_turn"), "Hi"),
    _recording("a stop reason of tomorrow", started() + text_block(0, "Hi") + stopped("bored"), "Hi"),
    _recording(
        "events and deltas of tomorrow say nothing",
        started() + anthropic_event("weather_report", sunny=True) + _SEARCH + _SCENTED + stopped("end_turn"),
        "Hi",
    ),
    _recording("no message_stop", started() + text_block(0, "Hi") + _UNSTOPPED, "Hi"),
    _recording(
        "what isn't JSON is left out",
        started() + b"data: pong\n\n" + text_block(0, "Hi") + stopped("end_turn"),
        "Hi",
        dropped=1,
    ),
    _recording(
        "overloaded amid the answer",
        started() + text_block(0, "Hi") + _OVERLOADED,
        "Hi",
        finish=None,
        usage=_BROKEN_OFF,
        failure=FailureKind.OVERLOADED,
    ),
    _recording(
        "an error in place of an answer",
        _LIMITED,
        finish=None,
        model=None,
        usage=None,
        failure=FailureKind.RATE_LIMIT,
    ),
    _recording(
        "an api_error",
        started() + anthropic_event("error", error={"type": "api_error", "message": "Internal server error"}),
        finish=None,
        usage=_BROKEN_OFF,
        failure=FailureKind.SERVER_ERROR,
    ),
    _recording("nothing at all", b"", finish=None, model=None, usage=None, failure=FailureKind.BAD_RESPONSE),
    _recording(
        "cut amid the text",
        started() + text_block(0, "Hi"),
        "Hi",
        finish=None,
        usage=_BROKEN_OFF,
        failure=FailureKind.BAD_RESPONSE,
    ),
    _recording(
        "message_stop without a stop reason",
        started() + text_block(0, "Hi") + anthropic_event("message_stop"),
        "Hi",
        finish=None,
        usage=_BROKEN_OFF,
        failure=FailureKind.BAD_RESPONSE,
    ),
]
