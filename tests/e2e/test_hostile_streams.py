"""Upstreams that attack in mid-stream: it is continued, ended in time, or ended with its caller."""

from __future__ import annotations

import gzip
import http.client as http_client
import json
import socket
import time

import pytest

from tests.e2e.conftest import reset
from tests.e2e.hostile import (
    BEGUN,
    CHUNKED,
    DONE,
    GOOD,
    LIMITS,
    MB,
    ROLE,
    STREAM,
    begun,
    endless,
    event,
    packed,
    said,
    text_of,
    well,
)
from tests.e2e.kuro import Kuro
from tests.stub import (
    STORY,
    Behaviour,
    End,
    Kind,
    Piece,
    Reply,
    StubUpstream,
    ok,
)
from tests.wire.whatwg import parse

# --- after the first token -----------------------------------------------------------------------

FIRST_CHUNK = b"%x\r\n%b\r\n" % (len(BEGUN), BEGUN)
LONG = "content-length: 99999"
BROKEN: dict[str, Behaviour] = {
    "chunks turn to garbage": begun(b"zz", CHUNKED, first=FIRST_CHUNK),
    "shorter than it says": begun(b"", LONG),
    "gzip cut off": begun(gzip.compress(ROLE * 9)[:-9], "content-encoding: gzip", first=gzip.compress(BEGUN)),
    "gzip turns to garbage": begun(b"\0" * 100, "content-encoding: gzip", first=gzip.compress(BEGUN)),
    "a line for ever": endless(b"x" * MB, first=BEGUN + b"data: "),
    "a bomb": begun(packed(bytes(MB), 64), "content-encoding: gzip", first=gzip.compress(BEGUN)),
    "an error": begun(b'data: {"error": {"message": "out of luck"}}\n\n'),
    "a deep error": begun(b'event: error\ndata: {"error": ' + b"[" * 100_000 + b"\n\n"),
    "a reset": begun(b"data", LONG, end=End.RST),
    "silence": begun(b"data", LONG, end=End.SILENCE),
    "trailers for ever": begun(b"0\r\n" + b"x: y\r\n" * 20_000, CHUNKED, first=FIRST_CHUNK, end=End.SILENCE),
}


@pytest.mark.parametrize("behaviour", BROKEN.values(), ids=BROKEN.keys())
def test_what_breaks_is_continued_by_the_fallback(
    quick: Kuro, stub: StubUpstream, behaviour: Behaviour
) -> None:
    stub.script("primary", behaviour)
    stub.script("second", ok(STORY))
    status, headers, body = quick.chat(STREAM)
    assert (status, text_of(body)) == (200, STORY)
    record = quick.record(headers["x-request-id"])
    assert [a["outcome"] for a in record["attempts"]] == ["cut", "ok"]
    well(quick, stub)


ENDLESS: dict[str, Behaviour] = {
    "words": endless(event(said("word ")) * 100, first=ROLE),
    "comments": endless(b": ping\n\n" * 100, first=BEGUN),
    "comments, now and then": lambda received: Reply(
        headers=(("content-type", "text/event-stream"),),
        pieces=(Piece(Kind.OTHER, BEGUN), Piece(Kind.OTHER, b": ping\n\n")),
        framing="close",
        pace=0.2,
        forever=True,
    ),
    "an event, byte by byte": lambda received: Reply(
        headers=(("content-type", "text/event-stream"),),
        pieces=(Piece(Kind.OTHER, BEGUN + b"data: "), Piece(Kind.OTHER, b" ")),
        framing="close",
        pace=0.2,
        forever=True,
    ),
}


@pytest.mark.parametrize("behaviour", ENDLESS.values(), ids=ENDLESS.keys())
def test_the_total_limit_holds_whatever_comes(quick: Kuro, stub: StubUpstream, behaviour: Behaviour) -> None:
    # Nobody continues it: it is asked for by name, and has no fallback.
    stub.script("third", behaviour)
    began = time.monotonic()
    status, headers, body = quick.chat(STREAM | {"model": "third"})
    assert status == 200
    assert LIMITS["total"] - 0.2 <= time.monotonic() - began < LIMITS["total"] + 8
    assert b"[DONE]" not in body[-2000:]
    error = json.loads(parse(body[-2000:][body[-2000:].rindex(b"data:") :]).messages[-1].data)["error"]
    assert error["code"] == "request_timeout"
    assert quick.record(headers["x-request-id"])["attempts"][-1]["failure"] == "deadline"
    reset(quick, "third")
    well(quick, stub)


def test_the_callers_own_deadline_ends_a_stream_that_goes_on(quick: Kuro, stub: StubUpstream) -> None:
    stub.script("third", ok(events=["word "] * 1000, pace=0.05))
    began = time.monotonic()
    status, _, body = quick.chat(STREAM | {"model": "third"}, x_request_timeout="1")
    assert status == 200
    assert 0.9 <= time.monotonic() - began < 3
    assert json.loads(parse(body).messages[-1].data)["error"]["code"] == "request_timeout"


@pytest.mark.parametrize("pace", [0.0, 0.3], ids=["at once", "now and then"])
def test_a_finished_stream_that_goes_on_is_ended_for_the_caller(
    quick: Kuro, stub: StubUpstream, pace: float
) -> None:
    pieces = (Piece(Kind.OTHER, GOOD.removesuffix(DONE)), Piece(Kind.OTHER, b": more\n\n" * 100))
    head = (("content-type", "text/event-stream"),)
    stub.script(
        "primary", lambda r: Reply(headers=head, pieces=pieces, framing="close", pace=pace, forever=True)
    )
    began = time.monotonic()
    status, headers, body = quick.chat(STREAM)
    assert (status, text_of(body)) == (200, "All is well.")
    assert time.monotonic() - began < 3.0
    assert quick.record(headers["x-request-id"])["outcome"] == "ok"


@pytest.mark.parametrize(
    "piece", [event(said("word ")) * 100, b": ping\n\n" * 100], ids=["words", "comments"]
)
def test_a_caller_that_leaves_an_endless_stream_ends_it_within_a_second(
    quick: Kuro, stub: StubUpstream, piece: bytes
) -> None:
    stub.script("third", endless(piece, first=BEGUN))
    before = stub.hits("third")
    connection = http_client.HTTPConnection("127.0.0.1", quick.port, timeout=10)
    body = json.dumps(STREAM | {"model": "third"})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    connection.getresponse().read(100)
    received = stub.block_hits("third", before + 1)
    assert not received.disconnected
    assert connection.sock is not None
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    received.disconnected.block(1.0)
    well(quick, stub)
