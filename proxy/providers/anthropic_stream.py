"""Anthropic's stream -> chat.completion.chunk events.

    message_start        -> {"role": "assistant"}, prompt tokens
    content_block_start  -> a tool call's id and name          (text and thinking: nothing yet)
    content_block_delta  -> content | reasoning_content | a piece of a tool call's arguments
    content_block_stop   -> "{}" for a tool call that had no arguments
    message_delta        -> finish_reason, completion tokens
    message_stop         -> the usage chunk, if asked for; the end
    error                -> Chunk.failure                      (ping, signatures, what is new: nothing)

The end of the stream without message_delta's stop_reason is a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from proxy.errors import UpstreamError
from proxy.providers.anthropic_reply import (
    arguments_of,
    finish_reason_of,
    name_of,
    text_of,
    usage_object,
    usage_of,
)
from proxy.providers.diagnose import bad_response, in_band
from proxy.providers.openai_shapes import read_json
from proxy.types import Chunk, Failure, Usage
from proxy.wire import sse
from proxy.wire.crowd import many_values

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


MOST_OPEN = 16
"""Tool calls that may be written at once: each is remembered to its stop. Anthropic writes one by one."""


class _Call(Struct):
    """A tool call that is being written."""

    index: int
    """Among the message's tool calls."""
    block: dict[str, Any]
    said: bool = False
    """Arguments were sent."""


class AnthropicDecoder:
    """Decodes one stream. After its end, or a failure, it says nothing more."""

    def __init__(self, created: int, show_usage: bool = False, limit: int = sse.MAX_EVENT) -> None:
        self._reader = sse.Reader(limit)
        self._created = created
        self._show_usage = show_usage
        self._usage: Usage | None = None
        self._head = b""
        self._calls: dict[int, _Call] = {}
        """Those that haven't stopped, by the block's index."""
        self._opened = 0
        self._started = False
        self._finished = False
        self._over = False

    def feed(self, data: bytes) -> Chunk:
        """Everything that became complete with `data`."""
        if self._over:
            return Chunk()
        try:
            block = self._reader.feed(data)
        except UpstreamError as error:
            return self._fail(Chunk(), error.failure)
        return self._translate(block) if block else Chunk()

    def close(self) -> Chunk:
        """The end: a failure unless a stop reason was seen."""
        if self._over:
            return Chunk()
        chunk = self._translate(self._reader.close())
        if self._over:
            return chunk
        if self._finished:
            chunk.data += self._end(chunk)
            return chunk
        return self._fail(chunk, bad_response("The stream ended before it was finished."))

    def _translate(self, block: bytes) -> Chunk:
        chunk = Chunk()
        made: list[bytes] = []
        for event in sse.events(block):
            if event.data:
                made.append(self._event(event, chunk))
            if self._over:
                break
        chunk.data = b"".join(made)
        return chunk

    def _event(self, event: sse.Event, chunk: Chunk) -> bytes:
        value = _read(event.data)
        if not isinstance(value, dict):
            if event.name == b"error":
                self._trouble(event.data.decode(errors="replace"), chunk)
            else:
                chunk.dropped += 1
            return b""
        kind = value.get("type")
        if kind == "error" or event.name == b"error" or (kind is None and "error" in value):
            self._trouble(value, chunk)
            return b""
        translate = _EVENTS.get(kind) if isinstance(kind, str) else None
        return translate(self, value, chunk) if translate else b""

    # --- one function per event ------------------------------------------------------------------

    def _message_start(self, event: dict[str, Any], chunk: Chunk) -> bytes:
        if self._started:
            return b""
        self._started = True
        message = _dict(event.get("message"))
        chunk.model = name_of(message.get("model"))
        self._count(message.get("usage"), chunk)
        self._begin(name_of(message.get("id")) or "msg", chunk.model or "")
        return self._delta(chunk, {"role": "assistant", "content": ""})

    def _block_start(self, event: dict[str, Any], chunk: Chunk) -> bytes:
        block = _dict(event.get("content_block"))
        if block.get("type") == "text" and block.get("text"):
            return self._text(chunk, text_of(block.get("text")))
        if block.get("type") != "tool_use":
            return b""
        if len(self._calls) == MOST_OPEN:
            self._fail(chunk, bad_response(f"More than {MOST_OPEN} tool calls are written at once."))
            return b""
        call = self._calls[_index(event)] = _Call(self._opened, block)
        self._opened += 1
        chunk.meaningful = chunk.tool_call = True
        function = {"name": text_of(block.get("name")), "arguments": ""}
        opened = {"id": text_of(block.get("id")), "type": "function", "function": function}
        return self._delta(chunk, {"tool_calls": [{"index": call.index} | opened]})

    def _block_delta(self, event: dict[str, Any], chunk: Chunk) -> bytes:
        delta = _dict(event.get("delta"))
        kind = delta.get("type")
        if kind == "text_delta":
            return self._text(chunk, text_of(delta.get("text")))
        if kind == "thinking_delta":
            return self._thought(chunk, text_of(delta.get("thinking")))
        if kind == "input_json_delta":
            return self._arguments(chunk, self._calls.get(_index(event)), text_of(delta.get("partial_json")))
        return b""

    def _block_stop(self, event: dict[str, Any], chunk: Chunk) -> bytes:
        call = self._calls.pop(_index(event), None)
        return b"" if call is None or call.said else self._arguments(chunk, call, arguments_of(call.block))

    def _message_delta(self, event: dict[str, Any], chunk: Chunk) -> bytes:
        self._count(event.get("usage"), chunk)
        reason = finish_reason_of(_dict(event.get("delta")).get("stop_reason"))
        if reason is None or self._finished:
            return b""
        self._finished = True
        chunk.finish_reason = reason
        return self._delta(chunk, {}, reason)

    def _message_stop(self, event: dict[str, Any], chunk: Chunk) -> bytes:
        if self._finished:
            return self._end(chunk)
        self._fail(chunk, bad_response("The stream ended without a stop reason."))
        return b""

    # --- what they have in common ----------------------------------------------------------------

    def _text(self, chunk: Chunk, text: str) -> bytes:
        if not text:
            return b""
        chunk.text += text
        chunk.meaningful = True
        return self._delta(chunk, {"content": text})

    def _thought(self, chunk: Chunk, text: str) -> bytes:
        if not text:
            return b""
        chunk.meaningful = True
        return self._delta(chunk, {"reasoning_content": text})

    def _arguments(self, chunk: Chunk, call: _Call | None, piece: str) -> bytes:
        if call is None or not piece:
            return b""
        call.said = True
        chunk.meaningful = chunk.tool_call = True
        return self._delta(chunk, {"tool_calls": [{"index": call.index, "function": {"arguments": piece}}]})

    def _count(self, counts: Any, chunk: Chunk) -> None:
        if isinstance(counts, dict):
            self._usage = chunk.usage = usage_of(counts, self._usage or Usage())

    def _begin(self, id_: str, model: str) -> None:
        """The members that all chunks share, encoded once."""
        shared = {"id": id_, "object": "chat.completion.chunk", "created": self._created, "model": model}
        self._head = b"data: " + _encode(shared)[:-1]

    def _delta(self, chunk: Chunk, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._chunk(chunk, b"[%b]" % _encode(choice))

    def _chunk(self, chunk: Chunk, choices: bytes, usage: bytes = b"") -> bytes:
        if not self._head:
            self._begin("msg", "")
        chunk.events += 1
        return b'%b,"choices":%b%b}\n\n' % (self._head, choices, usage)

    def _end(self, chunk: Chunk) -> bytes:
        self._over = chunk.done = True
        if not self._show_usage:
            return b""
        return self._chunk(chunk, b"[]", b',"usage":' + _encode(usage_object(self._usage or Usage())))

    def _trouble(self, error: Any, chunk: Chunk) -> None:
        if self._finished:
            chunk.dropped += 1
        else:
            self._fail(chunk, in_band(error))

    def _fail(self, chunk: Chunk, failure: Failure) -> Chunk:
        self._over = True
        chunk.failure = failure
        return chunk


_EVENTS: dict[str, Callable[[AnthropicDecoder, dict[str, Any], Chunk], bytes]] = {
    "message_start": AnthropicDecoder._message_start,
    "content_block_start": AnthropicDecoder._block_start,
    "content_block_delta": AnthropicDecoder._block_delta,
    "content_block_stop": AnthropicDecoder._block_stop,
    "message_delta": AnthropicDecoder._message_delta,
    "message_stop": AnthropicDecoder._message_stop,
}


def _read(data: bytes) -> Any:
    if many_values(data):
        return None
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # It isn't JSON, or it has the lone surrogates that msgspec refuses.
        return read_json(data) if b"\\u" in data else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _index(event: dict[str, Any]) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else -1
