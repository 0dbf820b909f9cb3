"""Anthropic's Messages API: the canonical request put into its terms, its answers put into ours.

    request   `anthropic_request`   system apart, turns that alternate, blocks instead of parts
    reply     `anthropic_reply`     blocks -> message, stop reason -> finish reason, usage summed
    stream    `anthropic_stream`    its events -> chat.completion.chunk events

API version 2023-06-01, https://docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from proxy.effort import Effort
from proxy.providers.anthropic_reply import read_reply
from proxy.providers.anthropic_request import message_body
from proxy.providers.anthropic_stream import AnthropicDecoder
from proxy.providers.diagnose import refusal
from proxy.providers.headers import request_headers
from proxy.types import ChatRequest, Chunk, Failure, Model, Provider, UpstreamRequest

_VERSION = (b"anthropic-version", b"2023-06-01")
_encode = msgspec.json.Encoder().encode


class AnthropicCodec:
    """The native dialect. `now` gives the Unix time for `created`, which Anthropic doesn't send."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def encode(
        self, request: ChatRequest, model: Model, provider: Provider, effort: Effort | None = None
    ) -> UpstreamRequest:
        """The request in Anthropic's terms; raises UpstreamError when it can't be said in them (n > 1)."""
        key = ((b"x-api-key", provider.api_key.encode()),) if provider.api_key else ()
        headers = request_headers(provider, request.stream, _VERSION, *key)
        return UpstreamRequest("/messages", headers, _encode(message_body(request, model, effort)))

    def decode(self, body: bytes) -> Chunk:
        """The message as a chat.completion."""
        return read_reply(body, int(self._now()))

    def decoder(self, request: ChatRequest) -> AnthropicDecoder:
        """For one stream; with the usage chunk only when the caller asked for it."""
        return AnthropicDecoder(int(self._now()), show_usage=request.include_usage)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See `diagnose.refusal`."""
        return refusal(status, headers, body)
