"""A stream as its caller hears it: the bytes off the socket, held to the grammar of CONTRACT, section 3."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.kuro import Kuro

Json = dict[str, Any]
LONGEST = 120.0
"""Seconds without a byte after which a test has failed."""


@dataclass
class Heard:
    """One answer to a streaming caller. Times are seconds since the request was sent."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    chunks: list[Json] = field(default_factory=list)
    """Every event that is a chunk."""
    errors: list[Json] = field(default_factory=list)
    """The `error` objects of events, or of the body when the status isn't 200."""
    done: int = 0
    """Times that `[DONE]` was said."""
    whole: bool = True
    """The body was ended properly."""
    began: float = 0.0
    """When the first content came."""
    ended: float = 0.0
    gap: float = 0.0
    """The longest silence between two pieces of content."""

    @property
    def text(self) -> str:
        return "".join(choice["delta"].get("content") or "" for choice in self._choices())

    @property
    def finish(self) -> list[str]:
        """Every finish_reason, in order."""
        return [choice["finish_reason"] for choice in self._choices() if choice.get("finish_reason")]

    @property
    def choices(self) -> int:
        """How many answers it held, whole or in part."""
        return len({choice["index"] for choice in self._choices()})

    @property
    def usage(self) -> Json | None:
        return next((chunk["usage"] for chunk in self.chunks if chunk.get("usage")), None)

    @property
    def model(self) -> str:
        """What the last chunk says that it was made by."""
        return str(self.chunks[-1]["model"])

    @property
    def request_id(self) -> str:
        return self.headers["x-request-id"]

    def _choices(self) -> list[Json]:
        return [choice for chunk in self.chunks for choice in chunk["choices"]]


def listen(
    kuro: Kuro,
    body: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    on_words: Callable[[int], None] = lambda count: None,
) -> Heard:
    """Asks for a stream and listens to its end. Fails when the stream breaks a rule that always holds.

    `on_words` is told how many pieces of content have come, with each of them.
    """
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", kuro.port, timeout=LONGEST)
    try:
        sent = json.dumps({**body, "stream": True}).encode()
        named = {"content-type": "application/json", **(headers or {})}
        connection.request("POST", "/v1/chat/completions", sent, named)
        response = connection.getresponse()
        heard = Heard(response.status, {name.lower(): value for name, value in response.getheaders()})
        if heard.headers["content-type"].startswith("text/event-stream"):
            _hear(response, heard, began, on_words)
            _check(heard)
        else:
            heard.body = response.read()
            heard.errors = [json.loads(heard.body)["error"]]
        heard.ended = time.monotonic() - began
        return heard
    finally:
        connection.close()


def _hear(
    response: http.client.HTTPResponse, heard: Heard, began: float, on_words: Callable[[int], None]
) -> None:
    last = 0.0
    words = 0
    parts = []
    try:
        while line := response.readline():
            parts.append(line)
            if not line.startswith(b"data: "):
                continue
            payload = line[6:].strip()
            if payload == b"[DONE]":
                heard.done += 1
                continue
            event = json.loads(payload)  # whatever is relayed is JSON
            if "error" in event:
                heard.errors.append(event["error"])
                continue
            heard.chunks.append(event)
            if any(choice["delta"].get("content") for choice in event["choices"]):
                now = time.monotonic() - began
                heard.began = heard.began or now
                heard.gap = max(heard.gap, now - last if last else 0.0)
                last = now
                words += 1
                on_words(words)
    except http.client.IncompleteRead:
        heard.whole = False
    heard.body = b"".join(parts)


def _check(heard: Heard) -> None:
    """What holds of every stream, however it ended: one end, and nothing after it."""
    assert heard.whole, "the body was cut"
    assert heard.body.endswith(b"\n\n")
    assert heard.done + len(heard.errors) == 1, heard.body[-500:]
    last = heard.body.rstrip(b"\n").rpartition(b"\n\n")[2]
    assert last == b"data: [DONE]" if heard.done else last.startswith(b'data: {"error"')
    if heard.done:
        assert heard.finish, "[DONE] without a finish_reason"
    else:
        assert len(heard.finish) < max(heard.choices, 1), "an invented end"
    assert b"\nid:" not in heard.body
    assert b"data: \n" not in heard.body
