"""OpenAI's dialect, which is the canonical form too: what needn't change passes as the bytes it came in.

request   body --splice--> the same bytes with the upstream's model, `include_usage`, `reasoning_effort`
               --else----> decoded, changed and encoded again, unknown fields kept; some are called
                           otherwise there: `max_tokens`, `max_completion_tokens`
reply     body, looked at but not touched
stream    see `openai_stream`
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from proxy.effort import Effort
from proxy.providers.diagnose import refusal
from proxy.providers.headers import request_headers
from proxy.providers.openai_shapes import read_reply
from proxy.providers.openai_stream import OpenAIDecoder
from proxy.types import ChatRequest, Chunk, Failure, Model, Provider, UpstreamRequest
from proxy.wire.plugins import AUTO_ROUTER

_MODEL = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
_ASK_USAGE = b',"stream_options":{"include_usage":true}'
_TELL_EFFORT = b',"reasoning_effort":"%b"'
_CONSUMED = ("models", "session_id", "plugins")
"""Fields that are meant for a router, which is us: any of them has the body encoded again."""
_ADDED = ("stream_options", "reasoning_effort")
"""Fields that we may add to a request."""

Rename = Mapping[str, str | None]
"""See `Provider.rename`."""

_encode = msgspec.json.Encoder().encode


class OpenAICodec:
    """OpenAI, Groq, OpenRouter, vLLM, Ollama and everybody else who speaks /chat/completions."""

    def encode(
        self, request: ChatRequest, model: Model, provider: Provider, effort: Effort | None = None
    ) -> UpstreamRequest:
        """The caller's own bytes where possible; a stream always asks for its usage."""
        name, rename = _quoted(model.upstream_model), provider.rename
        spliceable = request.spliceable and (not rename or _keeps_names(request, rename))
        body = _spliced(request, name, effort) if spliceable else None
        body = body or _rewritten(request, model, rename, effort)
        own = ((b"authorization", b"Bearer " + provider.api_key.encode()),) if provider.api_key else ()
        headers = request_headers(provider, request.stream, *own)
        return UpstreamRequest("/chat/completions", headers, body)

    def decode(self, body: bytes) -> Chunk:
        """The reply as it is; a failure when it is an error or has no message."""
        return read_reply(body)

    def decoder(self, request: ChatRequest) -> OpenAIDecoder:
        """For one stream; without the usage-only chunk unless the caller asked for it."""
        return OpenAIDecoder(show_usage=request.include_usage, choices=request.fields.get("n") or 1)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See `diagnose.refusal`."""
        return refusal(status, headers, body)


@lru_cache(maxsize=1024)
def _quoted(name: str) -> bytes:
    return _encode(name)


def _keeps_names(request: ChatRequest, rename: Rename) -> bool:
    """Whether nothing of what the caller says, or we may add, has another name there."""
    return rename.keys().isdisjoint(request.fields) and rename.keys().isdisjoint(_ADDED)


def _spliced(request: ChatRequest, name: bytes, effort: Effort | None) -> bytes | None:
    """The original bytes with the model's name exchanged, and what we add behind it; None when more has to
    change."""
    fields, body = request.fields, request.body
    if not fields.keys().isdisjoint(_CONSUMED):
        return None
    added = b"" if effort is None else _TELL_EFFORT % effort.encode()
    if request.stream:
        if "stream_options" not in fields:
            added += _ASK_USAGE
        elif not request.include_usage:
            return None
    found = _MODEL.match(body, body.find(b'"model"'))
    return None if found is None else body[: found.start(1)] + name + added + body[found.end(1) :]


def _rewritten(request: ChatRequest, model: Model, rename: Rename, effort: Effort | None) -> bytes:
    fields: dict[str, Any] = {
        **request.fields,
        "model": model.upstream_model,
        "messages": request.messages,
    }
    for consumed in _CONSUMED:
        fields.pop(consumed, None)
    if plugins := _foreign_plugins(request.fields.get("plugins")):
        fields["plugins"] = plugins
    if request.stream:
        fields["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
    if effort is not None:
        fields["reasoning_effort"] = effort
    for name, there in rename.items():
        if name in fields:
            value = fields.pop(name)
            if there is not None:
                fields.setdefault(there, value)
    return _encode(fields)


def _foreign_plugins(plugins: Any) -> Any:
    """OpenRouter's `plugins` without its router: which model answers is decided here."""
    if not isinstance(plugins, list):
        return plugins
    return [plugin for plugin in plugins if not isinstance(plugin, dict) or plugin.get("id") != AUTO_ROUTER]
