"""The shapes of the two dialects: a `Content` becomes a JSON reply or a list of stream pieces.

    Content --whole(wire)--> one JSON body
            --stream(wire)-> Piece(ROLE), Piece(DELTA)*, Piece(FINISH), [Piece(USAGE)], Piece(DONE)

Pure: the same content and request give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any

Json = dict[str, Any]

CREATED = 1_700_000_000
"""Unix time in every reply, so that replies can be compared."""


class Kind(StrEnum):
    """What a piece of a stream is for, so that a misbehaviour can leave out exactly that."""

    ROLE = "role"
    DELTA = "delta"
    FINISH = "finish"
    USAGE = "usage"
    DONE = "done"
    OTHER = "other"


@dataclass(frozen=True)
class Piece:
    """One SSE event, or a part of a body."""

    kind: Kind
    data: bytes


@dataclass(frozen=True)
class Tool:
    """One tool call of a reply; `arguments` is the JSON text that the model wrote."""

    name: str
    arguments: str
    id: str = "call_1"


@dataclass(frozen=True)
class Tokens:
    """What the reply says that it used."""

    prompt: int = 10
    completion: int = 5
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Content:
    """What a model says, whatever the dialect. `finish` is OpenAI's word; Anthropic's is derived."""

    deltas: tuple[str, ...]
    tools: tuple[Tool, ...] = ()
    reasoning: tuple[str, ...] = ()
    tokens: Tokens | None = field(default_factory=Tokens)
    finish: str = "stop"

    @property
    def text(self) -> str:
        return "".join(self.deltas)


# --- OpenAI --------------------------------------------------------------------------------------


def openai_whole(content: Content, request: Json) -> Json:
    """A `chat.completion`, with as many equal choices as `n` asks for."""
    message: Json = {"role": "assistant", "content": content.text or None, "refusal": None}
    if content.reasoning:
        message["reasoning_content"] = "".join(content.reasoning)
    if content.tools:
        message["tool_calls"] = [_openai_tool(tool) for tool in content.tools]
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": content.finish}
        for index in range(request.get("n") or 1)
    ]
    reply = _openai_envelope("chat.completion", request) | {"choices": choices}
    return reply if content.tokens is None else reply | {"usage": _openai_usage(content.tokens)}


def openai_stream(content: Content, request: Json) -> list[Piece]:
    """`chat.completion.chunk` events; the usage chunk only where `include_usage` asks for it."""
    envelope = _openai_envelope("chat.completion.chunk", request)
    indices = range(request.get("n") or 1)

    def chunk(kind: Kind, delta: Json, finish: str | None = None) -> Iterator[Piece]:
        for index in indices:
            choice = {"index": index, "delta": delta, "finish_reason": finish}
            yield Piece(kind, sse(envelope | {"choices": [choice]}))

    pieces = [*chunk(Kind.ROLE, {"role": "assistant", "content": ""})]
    for delta in _openai_deltas(content):
        pieces += chunk(Kind.DELTA, delta)
    pieces += chunk(Kind.FINISH, {}, content.finish)
    if content.tokens and (request.get("stream_options") or {}).get("include_usage"):
        usage = {"choices": [], "usage": _openai_usage(content.tokens)}
        pieces.append(Piece(Kind.USAGE, sse(envelope | usage)))
    return [*pieces, Piece(Kind.DONE, b"data: [DONE]\n\n")]


def openai_error(message: str, kind: str, code: str | None) -> Json:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _openai_envelope(kind: str, request: Json) -> Json:
    return {
        "id": "chatcmpl-stub",
        "object": kind,
        "created": CREATED,
        "model": request.get("model", ""),
        "system_fingerprint": "fp_stub",
    }


def _openai_deltas(content: Content) -> Iterator[Json]:
    for text in content.reasoning:
        yield {"reasoning_content": text}
    for text in content.deltas:
        yield {"content": text}
    for index, tool in enumerate(content.tools):
        opening = _openai_tool(tool) | {"index": index, "function": {"name": tool.name, "arguments": ""}}
        yield {"tool_calls": [opening]}
        for part in _slices(tool.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


def _openai_tool(tool: Tool) -> Json:
    function = {"name": tool.name, "arguments": tool.arguments}
    return {"id": tool.id, "type": "function", "function": function}


def _openai_usage(tokens: Tokens) -> Json:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cached},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }


# --- Anthropic -----------------------------------------------------------------------------------

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def anthropic_whole(content: Content, request: Json) -> Json:
    """A `message` of the Messages API."""
    blocks = [block | delta for block, deltas in _blocks(content) for delta in [_joined(block, deltas)]]
    return _anthropic_message(content, request) | {
        "content": blocks,
        "stop_reason": STOP_REASONS.get(content.finish, content.finish),
        "usage": _anthropic_usage(content.tokens or Tokens()),
    }


def anthropic_stream(content: Content, request: Json) -> list[Piece]:
    """message_start, ping, one start/delta*/stop per block, message_delta, message_stop."""
    tokens = content.tokens or Tokens()
    opening = _anthropic_usage(tokens) | {"output_tokens": 1}
    message = _anthropic_message(content, request) | {"usage": opening}
    pieces = [
        named(Kind.ROLE, {"type": "message_start", "message": message}),
        named(Kind.OTHER, {"type": "ping"}),
    ]
    for index, (block, deltas) in enumerate(_blocks(content)):
        start = {"type": "content_block_start", "index": index, "content_block": block}
        pieces.append(named(Kind.OTHER, start))
        for delta in deltas:
            event = {"type": "content_block_delta", "index": index, "delta": delta}
            pieces.append(named(Kind.DELTA, event))
        pieces.append(named(Kind.OTHER, {"type": "content_block_stop", "index": index}))
    stop = {"stop_reason": STOP_REASONS.get(content.finish, content.finish), "stop_sequence": None}
    usage = {"output_tokens": tokens.completion}
    pieces.append(named(Kind.FINISH, {"type": "message_delta", "delta": stop, "usage": usage}))
    return [*pieces, named(Kind.DONE, {"type": "message_stop"})]


def anthropic_error(message: str, kind: str, code: str | None) -> Json:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_stub"}


def _blocks(content: Content) -> Iterator[tuple[Json, list[Json]]]:
    """Each content block as it starts, and its deltas."""
    if content.reasoning:
        deltas: Iterator[Json] = ({"type": "thinking_delta", "thinking": part} for part in content.reasoning)
        signature = {"type": "signature_delta", "signature": "c2lnbmF0dXJl"}
        yield {"type": "thinking", "thinking": "", "signature": ""}, [*chain(deltas, [signature])]
    if content.deltas:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": part} for part in content.deltas]
    for tool in content.tools:
        block = {"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}}
        parts = ["", *_slices(tool.arguments)]
        yield block, [{"type": "input_json_delta", "partial_json": part} for part in parts]


def _joined(block: Json, deltas: list[Json]) -> Json:
    """What the deltas of a block amount to."""

    def all_of(name: str) -> str:
        return "".join(delta.get(name, "") for delta in deltas)

    whole: dict[str, Json] = {
        "thinking": {"thinking": all_of("thinking"), "signature": all_of("signature")},
        "text": {"text": all_of("text")},
        "tool_use": {"input": json.loads(all_of("partial_json") or "{}")},
    }
    return whole[block["type"]]


def _anthropic_message(content: Content, request: Json) -> Json:
    return {
        "id": "msg_stub",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", ""),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _anthropic_usage(tokens: Tokens) -> Json:
    """Anthropic counts what came from the cache apart from `input_tokens`."""
    return {
        "input_tokens": tokens.prompt - tokens.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": tokens.cached,
        "output_tokens": tokens.completion,
    }


# --- both ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dialect:
    """The verbs of one dialect; `path` is where it is spoken."""

    path: str
    whole: Any
    stream: Any
    error: Any


OPENAI = Dialect("/v1/chat/completions", openai_whole, openai_stream, openai_error)
ANTHROPIC = Dialect("/v1/messages", anthropic_whole, anthropic_stream, anthropic_error)
DIALECTS = {dialect.path: dialect for dialect in (OPENAI, ANTHROPIC)}


def sse(value: Json) -> bytes:
    """An unnamed event, as OpenAI sends it."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def named(kind: Kind, value: Json) -> Piece:
    """An event that carries its own type as its name, as Anthropic sends it."""
    return Piece(kind, b"event: " + value["type"].encode() + b"\n" + sse(value))


def _slices(text: str, size: int = 8) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
