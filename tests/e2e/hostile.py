"""Upstreams that attack, and how the proxy before them is watched: its time, its memory, its next answer."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.conftest import ADMIN, MODELS
from tests.e2e.kuro import Kuro, write_config
from tests.stub import (
    STORY,
    Behaviour,
    End,
    Kind,
    Piece,
    Reply,
    StubUpstream,
    ok,
    raw,
)
from tests.wire.whatwg import parse

HELLO: Any = [{"role": "user", "content": "Hello there, how are you today?"}]
ASK: Any = {"model": "primary", "messages": HELLO}
STREAM: Any = ASK | {"stream": True}
LIMITS = {"connect": 1, "first_token": 1.0, "idle": 0.6, "total": 4}
MB = 1024 * 1024
KEY = "hunter2.Zq9/with+no=known~shape"
"""The provider's key: no pattern tells that it is one."""


@contextlib.contextmanager
def hurried(directory: Path, stub: StubUpstream, **limits: float) -> Iterator[Kuro]:
    """A proxy with short limits in front of the stub."""
    config = write_config(
        directory,
        stub.url,
        [entry | {"timeouts": LIMITS | limits} for entry in MODELS],
        providers={
            "stub": {"dialect": "openai", "base_url": stub.url, "api_key": KEY},
            "anthropic": {"dialect": "anthropic", "base_url": stub.url, "api_key": KEY},
        },
        proxy={"admin_key": ADMIN},
        routing={"cache": {"size": 0}, "sticky": {"size": 0}},
    )
    with Kuro(config) as proxy:
        yield proxy


# --- how to attack -------------------------------------------------------------------------------


def http(
    body: bytes = b"",
    *headers: str,
    type: str = "text/event-stream",
    status: str = "200 OK",
    end: End = End.FIN,
    length: int | None = None,
) -> Behaviour:
    """A response by hand. Its length is told, unless another framing is among `headers`."""
    told = any(h.lower().startswith("transfer-encoding") for h in headers)
    size = [] if told else [f"content-length: {len(body) if length is None else length}"]
    head = "\r\n".join([f"HTTP/1.1 {status}", f"content-type: {type}", *headers, *size, "", ""])
    return raw(head.encode("latin-1") + body, end)


def endless(
    piece: bytes, *headers: str, type: str = "text/event-stream", first: bytes = b"", pace: float = 0.0
) -> Behaviour:
    """A body that is `first`, and then the same piece until the proxy leaves."""
    pairs = [line.partition(": ")[::2] for line in headers]
    pieces = (Piece(Kind.OTHER, first + piece), Piece(Kind.OTHER, piece))
    reply = Reply(
        headers=(("content-type", type), *pairs), pieces=pieces, framing="close", pace=pace, forever=True
    )
    return lambda received: reply


def endless_head(line: bytes, start: bytes = b"HTTP/1.1 200 OK\r\n") -> Behaviour:
    return lambda received: Reply(
        raw=True, pieces=(Piece(Kind.OTHER, start), Piece(Kind.OTHER, line * 100)), forever=True
    )


def packed(data: bytes, times: int, wbits: int = 31) -> bytes:
    """`data` so many times over, compressed without ever being whole."""
    packer = zlib.compressobj(9, wbits=wbits)
    return b"".join(packer.compress(data) for _ in range(times)) + packer.flush()


def event(*choices: Any, **members: Any) -> bytes:
    return b"data: " + json.dumps({"choices": list(choices)} | members).encode() + b"\n\n"


def said(text: str, finish: str | None = None) -> Any:
    return {"index": 0, "delta": {"content": text}, "finish_reason": finish}


ROLE = event({"index": 0, "delta": {"role": "assistant", "content": ""}})
DONE = b"data: [DONE]\n\n"
GOOD = ROLE + event(said("All is well.")) + event(said("", "stop")) + DONE


class Memory:
    """Resident megabytes of a process: now, and its peak since `forget`."""

    def __init__(self, proxy: Kuro) -> None:
        self._files = Path(f"/proc/{proxy.process.pid}")

    def forget(self) -> None:
        (self._files / "clear_refs").write_text("5")

    def __call__(self, name: str = "VmRSS") -> float:
        found = re.search(rf"{name}:\s+(\d+) kB", (self._files / "status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    def peak(self) -> float:
        return self("VmHWM")


def text_of(body: Any) -> str:
    """The text of a whole reply, or of a stream that ended well."""
    if isinstance(body, dict):
        return str(body["choices"][0]["message"]["content"])
    *events, done = [message.data for message in parse(body).messages]
    assert done == "[DONE]", body[-300:]
    choices = [choice for data in events for choice in json.loads(data).get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def whole(content: bytes = b"All is well.", more: bytes = b"", tokens: bytes = b"1") -> bytes:
    """A chat.completion; `content` is inside a JSON string."""
    message = b'{"index":0,"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}' % content
    usage = b'{"prompt_tokens":%b,"completion_tokens":2}' % tokens
    return b'{"id":"x","object":"chat.completion","model":"m","choices":[%b],"usage":%b%b}' % (
        message,
        usage,
        more,
    )


def json_reply(body: bytes, *headers: str, **options: Any) -> Behaviour:
    return http(body, *headers, type="application/json", **options)


def well(proxy: Kuro, stub: StubUpstream) -> None:
    """The next request is answered, at once."""
    stub.script("third", ok("Still here."))
    began = time.monotonic()
    status, _, body = proxy.chat(ASK | {"model": "third"})
    assert (status, text_of(body)) == (200, "Still here.")
    assert time.monotonic() - began < 3.0


class Prober:
    """Asks for the proxy's health all the time: the longest that it didn't answer."""

    def __init__(self, proxy: Kuro) -> None:
        self._proxy = proxy
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.longest = 0.0
        self.failed: list[str] = []

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _ask(self) -> None:
        while not self._over.wait(0.01):
            began = time.monotonic()
            try:
                self._proxy.request("GET", "/healthz")
            except OSError as error:
                self.failed.append(repr(error))
            self.longest = max(self.longest, time.monotonic() - began)


CHUNKED = "transfer-encoding: chunked"
START = b"HTTP/1.1 200 OK\r\n"
STREAMED = b"content-type: text/event-stream\r\n"
IN_CHUNKS = START + STREAMED + b"transfer-encoding: chunked\r\n\r\n"

WORDS = [f"{word} " for word in STORY.split(" ")[:20]]
BEGUN = ROLE + b"".join(event(said(word)) for word in WORDS)


def begun(rest: bytes, *headers: str, first: bytes = BEGUN, end: End = End.FIN) -> Behaviour:
    """Twenty words in one read, and the rest in others."""
    head = "\r\n".join(["HTTP/1.1 200 OK", "content-type: text/event-stream", *headers, "", ""])
    pieces = (Piece(Kind.OTHER, head.encode() + first), Piece(Kind.OTHER, rest))
    return lambda received: Reply(raw=True, pieces=pieces, end=end, pace=0.05)
