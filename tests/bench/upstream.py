"""A stub upstream that costs far less than what it is measured with: canned bytes, no JSON, uvloop.

    python -m tests.bench.upstream            prints the port that it listens on, then serves until killed

What a stream looks like is said by a marker in the prompt, because the prompt alone passes through every
proxy: `[[events=100 rate=20 burst=1]]`: so many content events, `burst` of them per write, `rate` writes a
second per stream; rate 0 writes as fast as the connection takes them.
"""

from __future__ import annotations

import asyncio
import json
import re
from functools import lru_cache
from itertools import count

import httptools
import uvloop

WORDS = (" one", " two", " three", " four", " five", " six", " seven", " eight", " nine", " ten")
"""What the events of a stream say, in turn: LiteLLM breaks a stream off that repeats one word."""
ANSWER = "The answer is short. " * 10
MODEL = "stub-model"

_MARKER = re.compile(rb"\[\[events=(\d+) rate=(\d+) burst=(\d+)\]\]")
_COMMON = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": MODEL, "system_fingerprint": "fp_bench"}
_USAGE = {"prompt_tokens": 120, "completion_tokens": 40, "total_tokens": 160}
_phases = count()


def marker(events: int, rate: int, burst: int) -> str:
    """What a prompt says to get such a stream."""
    return f"[[events={events} rate={rate} burst={burst}]]"


def _whole() -> bytes:
    message = {"role": "assistant", "content": ANSWER, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = json.dumps(_COMMON | {"object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    value = _COMMON | {"object": "chat.completion.chunk", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(value, separators=(",", ":")).encode()


def _usage_event() -> bytes:
    value = _COMMON | {"object": "chat.completion.chunk", "choices": [], "usage": _USAGE}
    return b"data: %b\n\n" % json.dumps(value, separators=(",", ":")).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


WHOLE = _whole()
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_FIRST = _chunk(_event({"role": "assistant", "content": ""}))
_LAST = _event({}, "stop")
_DONE = b"data: [DONE]\n\n"


@lru_cache
def _burst(first: int, size: int) -> bytes:
    """So many words from word number `first` on."""
    words = (WORDS[(first + at) % len(WORDS)] for at in range(size))
    return _chunk(b"".join(_event({"content": word}) for word in words))


@lru_cache
def _end(usage: bool) -> bytes:
    return _chunk(_LAST + (_usage_event() if usage else b"") + _DONE) + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._timer: asyncio.Handle | None = None
        self._open = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if b'"stream":true' in body or b'"stream": true' in body:
            self._stream(body)
        else:
            self._transport.write(WHOLE)

    def _stream(self, body: bytes) -> None:
        found = _MARKER.search(body)
        self._left, rate, self._size = map(int, found.groups()) if found else (20, 0, 1)
        self._interval = 1 / rate if rate else 0.0
        self._usage = b'"include_usage":true' in body or b'"include_usage": true' in body
        self._transport.write(_STREAM_HEAD + _FIRST)
        # Streams that begin together don't go on in step.
        self._due = self._loop.time() + self._interval * (next(_phases) * 0.618 % 1)
        self._later()

    def _later(self) -> None:
        if self._interval:
            self._timer = self._loop.call_at(self._due, self._next)
        else:
            self._timer = self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._timer = None
        size = min(self._size, self._left)
        self._left -= size
        self._transport.write(_burst(self._left % len(WORDS), size))
        if not self._left:
            self._transport.write(_end(self._usage))
            return
        self._due += self._interval
        if self._open:
            self._later()

    def pause_writing(self) -> None:
        self._open = False

    def resume_writing(self) -> None:
        self._open = True
        if self._timer is None and self._left:
            self._later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        if self._timer:
            self._timer.cancel()


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
