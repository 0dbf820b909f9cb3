"""Streams fed to the codecs of the table, in any pieces, and what comes out as one chunk."""

from __future__ import annotations

import json
from typing import Any

from proxy import providers
from proxy.providers.anthropic import AnthropicCodec
from proxy.types import ChatRequest, Chunk

CODECS = providers.CODECS | {"anthropic": AnthropicCodec(now=lambda: 1_700_000_000.5)}
"""The table, with a clock that stands."""


def request(include_usage: bool = True, **fields: Any) -> ChatRequest:
    fields = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "stream": True} | fields
    return ChatRequest(
        body=json.dumps(fields).encode(),
        fields=fields,
        model="auto",
        messages=fields["messages"],
        stream=fields["stream"],
        include_usage=include_usage,
    )


def decode(dialect: str, pieces: list[bytes], include_usage: bool = True) -> Chunk:
    """All chunks of a stream as one."""
    decoder = CODECS[dialect].decoder(request(include_usage))
    chunks = [decoder.feed(piece) for piece in pieces]
    chunks.append(decoder.close())
    assert decoder.feed(b"data: {}\n\n") == Chunk(), "it says nothing more after its end"
    assert decoder.close() == Chunk()
    return summed(chunks)


def summed(chunks: list[Chunk]) -> Chunk:
    def last(name: str) -> Any:
        return next((value for c in reversed(chunks) if (value := getattr(c, name)) is not None), None)

    return Chunk(
        data=b"".join(c.data for c in chunks),
        events=sum(c.events for c in chunks),
        meaningful=any(c.meaningful for c in chunks),
        text="".join(c.text for c in chunks),
        tool_call=any(c.tool_call for c in chunks),
        finish_reason=last("finish_reason"),
        model=last("model"),
        usage=last("usage"),
        dropped=sum(c.dropped for c in chunks),
        done=any(c.done for c in chunks),
        failure=last("failure"),
    )
