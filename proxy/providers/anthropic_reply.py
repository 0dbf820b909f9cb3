"""Anthropic's message -> a chat.completion.

text blocks -> content        thinking -> reasoning_content        tool_use -> tool_calls
input + cache_read + cache_creation tokens -> prompt_tokens, cache_read alone -> cached_tokens
"""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.providers.diagnose import bad_response, in_band
from proxy.providers.openai_shapes import read_json
from proxy.types import Chunk, Usage

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Anthropic's stop_reason -> OpenAI's finish_reason; what is new there is `stop` here."""

_encode = msgspec.json.Encoder().encode


def read_reply(body: bytes, created: int) -> Chunk:
    """A whole message as one chunk; a failure when it is an error or no message."""
    message = read_json(body)
    if not isinstance(message, dict):
        return Chunk(failure=bad_response("The upstream's reply is not a JSON object."))
    if message.get("type") == "error" or "error" in message:
        return Chunk(failure=in_band(message))
    content = message.get("content")
    if not isinstance(content, list):
        return Chunk(failure=bad_response("The upstream's reply has no message."))
    said = _message([block for block in content if isinstance(block, dict)])
    finish_reason = finish_reason_of(message.get("stop_reason")) or "stop"
    usage = usage_of(message.get("usage"), Usage())
    model = name_of(message.get("model"))
    completion = {
        "id": name_of(message.get("id")) or "msg",
        "object": "chat.completion",
        "created": created,
        "model": model or "",
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": finish_reason}],
        "usage": usage_object(usage),
    }
    return Chunk(
        data=_encode(completion),
        events=1,
        meaningful=True,
        text=said["content"] or "",
        tool_call="tool_calls" in said,
        finish_reason=finish_reason,
        model=model,
        usage=usage,
        done=True,
    )


def finish_reason_of(stop_reason: Any) -> str | None:
    """None as long as it hasn't stopped."""
    return FINISH_REASONS.get(stop_reason, "stop") if isinstance(stop_reason, str) else None


def usage_of(counts: Any, before: Usage) -> Usage:
    """The canonical usage. Streams send it in pieces: what a piece doesn't say is as it was `before`."""
    if not isinstance(counts, dict):
        return before
    read = _count(counts, "cache_read_input_tokens")
    parts = [_count(counts, "input_tokens"), read, _count(counts, "cache_creation_input_tokens")]
    details = counts.get("output_tokens_details")
    reasoning = _count(details, "thinking_tokens") if isinstance(details, dict) else None
    completion = _count(counts, "output_tokens")
    return Usage(
        prompt=before.prompt if parts[0] is None else sum(part or 0 for part in parts),
        completion=before.completion if completion is None else completion,
        cached=before.cached if read is None else read,
        reasoning=before.reasoning if reasoning is None else reasoning,
    )


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage`."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def text_of(value: Any) -> str:
    """A string that UTF-8 can say; anything else is the empty one."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def name_of(value: Any) -> str | None:
    """An id or a model's name, None when there is none."""
    return text_of(value) or None


def arguments_of(block: dict[str, Any]) -> str:
    """A tool_use block's input as the JSON text that OpenAI's callers parse."""
    given = block.get("input")
    return _json(given) if isinstance(given, dict) else "{}"


def _message(content: list[dict[str, Any]]) -> dict[str, Any]:
    text = "".join(text_of(block.get("text")) for block in content if block.get("type") == "text")
    thought = "".join(text_of(block.get("thinking")) for block in content if block.get("type") == "thinking")
    calls = [_tool_call(block) for block in content if block.get("type") == "tool_use"]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text or (None if calls else ""),
        "refusal": None,
    }
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = calls
    return message


def _tool_call(block: dict[str, Any]) -> dict[str, Any]:
    function = {"name": text_of(block.get("name")), "arguments": arguments_of(block)}
    return {"id": text_of(block.get("id")), "type": "function", "function": function}


def _json(value: Any) -> str:
    try:
        return _encode(value).decode()
    except (UnicodeEncodeError, RecursionError, OverflowError):
        return "{}"


def _count(counts: dict[str, Any], name: str) -> int | None:
    value = counts.get(name)
    return (
        max(0, int(value))
        if isinstance(value, (int, float)) and value == value and abs(value) < 1e15
        else None
    )
