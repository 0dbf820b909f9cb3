"""Upstreams that attack before the first token: the fallback answers, and all is well afterwards."""

from __future__ import annotations

import gzip
import time

import pytest

from tests.e2e.hostile import (
    ASK,
    CHUNKED,
    DONE,
    GOOD,
    IN_CHUNKS,
    LIMITS,
    MB,
    ROLE,
    START,
    STREAM,
    STREAMED,
    Memory,
    Prober,
    endless,
    endless_head,
    event,
    http,
    json_reply,
    packed,
    said,
    text_of,
    well,
    whole,
)
from tests.e2e.kuro import Kuro
from tests.stub import (
    Behaviour,
    Kind,
    Piece,
    Reply,
    StubUpstream,
    comments_only,
    ok,
    raw,
    slow_body,
)

# --- before the first token: the fallback answers ------------------------------------------------


def headed(lines: bytes) -> Behaviour:
    """A good stream behind these header lines."""
    return raw(START + lines + STREAMED + b"content-length: %d\r\n\r\n" % len(GOOD) + GOOD)


BODIES: dict[str, Behaviour] = {
    "a bomb of one event, gzip": http(packed(bytes(MB), 128), "content-encoding: gzip"),
    "a bomb of one event, zlib": http(packed(bytes(MB), 128, 15), "content-encoding: deflate"),
    "a bomb of one event, deflate": http(packed(bytes(MB), 128, -15), "content-encoding: deflate"),
    "a bomb of comments": http(packed(b": x\n\n" * 200_000, 64), "content-encoding: gzip"),
    "a bomb of roles": http(packed(ROLE * 10_000, 32), "content-encoding: gzip"),
    "empty members for ever": endless(gzip.compress(b"") * 5000, "content-encoding: gzip"),
    "gzip cut off": http(gzip.compress(ROLE * 9)[:-9], "content-encoding: gzip"),
    "gzip twice": http(gzip.compress(gzip.compress(GOOD)), "content-encoding: gzip, gzip"),
    "br": http(b"\x1b\x0e", "content-encoding: br"),
    "a line of 32 MB": http(b"data: " + b"x" * 32 * MB),
    "a line for ever": endless(b"x" * MB, first=b"data: "),
    "lines for ever, CR": endless(b"data: x\r" * 100_000),
    "roles for ever": endless(ROLE * 5000),
    "events that are no JSON, for ever": endless(b"data: {\n\n" * 2000),
    "no event, properly ended": http(b""),
    "a mark and no more": http(b"\xef\xbb\xbf"),
    "a deep event and no more": http(b"data: " + b"[" * 100_000 + b"\n\n"),
    "a deep error": http(b'event: error\ndata: {"error": ' + b"[" * 100_000 + b"\n\n"),
    "choices in plenty": http(b'data: {"choices":[' + b"{}," * 2_600_000 + b"{}]}\n\n"),
    "choices in plenty, oddly typed": http(
        b'data: {"model":5,"choices":[' + b"{}," * 2_600_000 + b"{}]}\n\n"
    ),
    "shorter than it says": http(ROLE, length=len(ROLE) + 5),
    "longer than it says": http(GOOD, length=len(ROLE)),
    "a length of 10^30": http(GOOD, length=10**30),
    "a length below zero": http(GOOD, length=-1),
    "chunks of garbage": http(b"zz\r\nxx\r\n", CHUNKED),
    "a chunk below zero": http(b"-1\r\nxx\r\n", CHUNKED),
    "a chunk of 2^72": http(b"fffffffffffffffff0\r\nxx\r\n", CHUNKED),
    "a chunk that doesn't end": http(b"2\r\nxxxx\r\n", CHUNKED),
    "chunks and a length": http(b"5\r\n: x\n\n\r\n0\r\n\r\n", CHUNKED, "content-length: 5"),
    "two lengths": raw(START + STREAMED + b"content-length: 5\r\ncontent-length: 6\r\n\r\n: x\n\n"),
    "a coding in the transfer": http(GOOD, "transfer-encoding: gzip, chunked"),
}
HEADS: dict[str, Behaviour] = {
    "300 header lines": headed(b"".join(b"x-%d: a\r\n" % n for n in range(300))),
    "a header line of 20 KB": headed(b"x: " + b"a" * 20_000 + b"\r\n"),
    "100 KB of headers": headed(b"".join(b"x-%d: %b\r\n" % (n, b"a" * 1000) for n in range(100))),
    "headers for ever": endless_head(b"x: y\r\n"),
    "a header line for ever": endless_head(b"a" * 100, START + b"x: "),
    "a status line for ever": endless_head(b"a" * 100, b"HTTP/1.1 200 "),
    "interim responses for ever": endless_head(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", b""),
    "trailers for ever": endless_head(b"x: y\r\n", IN_CHUNKS + b"0\r\n"),
    "a chunk size for ever": endless_head(b";a=b", IN_CHUNKS + b"1"),
    "a switch of protocols": raw(b"HTTP/1.1 101 No\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + GOOD),
    "a redirect with an answer": http(GOOD, "location: http://127.0.0.1:9/", status="302 Found"),
    "a part of an answer": http(GOOD, status="206 Partial Content"),
    "no content": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "status 999": http(GOOD, status="999 X"),
    "HTTP/2": raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/0.9": raw(GOOD),
    "a folded header": headed(b"x: a\r\n b\r\n"),
    "NUL in a header": headed(b"x: a\0b\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("behaviour", [*BODIES.values(), *HEADS.values()], ids=[*BODIES, *HEADS])
def test_the_fallback_answers_instead(quick: Kuro, stub: StubUpstream, behaviour: Behaviour) -> None:
    stub.script("primary", behaviour)
    stub.script("second", ok("All is well."))
    memory = Memory(quick)
    memory.forget()
    before = memory()
    with Prober(quick) as prober:
        status, headers, body = quick.chat(STREAM)
    assert (status, text_of(body)) == (200, "All is well.")
    assert headers["x-kuro-fallback"] == "true"
    assert memory.peak() - before < 64
    assert prober.longest < 2.0, "others were served meanwhile"
    assert not prober.failed
    well(quick, stub)


FOR_EVER: dict[str, Behaviour] = {
    "comments": endless(b": ping\n\n" * 5000),
    "comments, now and then": comments_only(0.1),
    "blank lines": endless(b"\n" * 10_000),
    "names without data": endless(b"event: ping\n\n" * 5000),
    "empty data": endless(b"data:\n\n" * 5000),
    "a head, byte by byte": slow_body(0.3, ok("x"), size=1),
    "an event, byte by byte": lambda received: Reply(
        headers=(("content-type", "text/event-stream"),),
        pieces=tuple(Piece(Kind.OTHER, bytes([byte])) for byte in GOOD),
        framing="chunked",
        pace=0.2,
    ),
    "interim responses, now and then": lambda received: Reply(
        raw=True, pieces=(Piece(Kind.OTHER, b"HTTP/1.1 100 Continue\r\n\r\n"),), pace=0.1, forever=True
    ),
}


@pytest.mark.parametrize("behaviour", FOR_EVER.values(), ids=FOR_EVER.keys())
def test_nothing_but_a_token_feeds_the_first_token_limit(
    quick: Kuro, stub: StubUpstream, behaviour: Behaviour
) -> None:
    stub.script("primary", behaviour)
    stub.script("second", ok("All is well."))
    began = time.monotonic()
    status, headers, body = quick.chat(STREAM)
    assert (status, text_of(body)) == (200, "All is well.")
    assert LIMITS["first_token"] <= time.monotonic() - began < LIMITS["first_token"] + 2
    record = quick.record(headers["x-request-id"])
    assert record["attempts"][0]["failure"] == "first_token_timeout"
    well(quick, stub)


WHOLE: dict[str, Behaviour] = {
    "a bomb": json_reply(packed(bytes(MB), 256), "content-encoding: gzip"),
    "deep": json_reply(b"[" * 100_000),
    "deep objects": json_reply(b'{"choices":' * 100_000),
    "deep where nobody looks": json_reply(whole(more=b',"x":' + b"[" * 100_000 + b"]" * 100_000)),
    "NaN": json_reply(whole(more=b',"x":NaN')),
    "bad UTF-8": json_reply(whole(b"\xff\xfe")),
    "shorter than it says": json_reply(whole(), length=len(whole()) + 1),
    "longer than it says": json_reply(whole(), length=len(whole()) - 1),
    "a number": json_reply(b"1"),
    "lists of lists": json_reply(b"[[],[[]]]"),
    "a body, byte by byte": slow_body(0.2, json_reply(whole()), size=10),
}


@pytest.mark.parametrize("behaviour", WHOLE.values(), ids=WHOLE.keys())
def test_the_fallback_answers_instead_of_a_bad_reply(
    quick: Kuro, stub: StubUpstream, behaviour: Behaviour
) -> None:
    stub.script("primary", behaviour)
    stub.script("second", ok("All is well."))
    began = time.monotonic()
    status, headers, body = quick.chat(ASK)
    assert (status, text_of(body)) == (200, "All is well.")
    assert headers["x-kuro-model"] == "second"
    assert time.monotonic() - began < LIMITS["total"]
    well(quick, stub)


# --- odd, and legal: the answer is taken ---------------------------------------------------------

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LEGAL: dict[str, Behaviour] = {
    "a mark in front": http(b"\xef\xbb\xbf" + GOOD),
    "CR for line ends": http(GOOD.replace(b"\n", b"\r")),
    "CRLF for line ends": http(GOOD.replace(b"\n", b"\r\n")),
    "event names": http(GOOD.replace(b"data:", b"event: chunk\ndata:")),
    "ids, also between CR and LF": http(GOOD.replace(b"\n\n", b"\rid: 1\n\n")),
    "data over several lines": http(GOOD.replace(b", ", b",\ndata: ")),
    "no last blank line": http(GOOD[:-2]),
    "another answer behind [DONE]": http(GOOD + GOOD.replace(b"well", b"lost")),
    "an error behind [DONE]": http(GOOD + b'data: {"error": {"message": "too late"}}\n\n'),
    "comments for ever behind [DONE]": endless(b": x\n\n", first=GOOD),
    "a deep event in front": http(b"data: " + b"[" * 100_000 + b"\n\n" + GOOD),
    "NaN in front": http(b'data: {"x": NaN}\n\n' + GOOD),
    "a second response": raw((START + STREAMED + b"content-length: %d\r\n\r\n%b" % (len(GOOD), GOOD)) * 2),
    "a type in capitals": http(GOOD, type="Text/Event-Stream; Charset=UTF-8"),
    "HTTP/1.0": raw(b"HTTP/1.0 200 OK\r\n" + STREAMED + b"\r\n" + GOOD),
    "a hundred interim responses": raw(CONTINUE * 100 + START + STREAMED + b"\r\n" + GOOD),
    "gzip": http(gzip.compress(GOOD), "content-encoding: GZIP"),
}  # fmt: skip


@pytest.mark.parametrize("behaviour", LEGAL.values(), ids=LEGAL.keys())
def test_what_is_odd_and_legal_is_taken(quick: Kuro, stub: StubUpstream, behaviour: Behaviour) -> None:
    stub.script("primary", behaviour)
    status, headers, body = quick.chat(STREAM)
    assert (status, text_of(body)) == (200, "All is well.")
    assert headers["x-kuro-model"] == "primary"
    assert body.endswith(DONE)
    assert b"lost" not in body
    assert b"too late" not in body
    assert b"id:" not in body
    well(quick, stub)


COUNTS = {
    "400 digits": b"1" + b"0" * 400,
    "a large float": b"1e300",
    "less than nothing": b"-1000",
    "text": b'"many"',
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("tokens", COUNTS.values(), ids=COUNTS.keys())
def test_absurd_counts_are_relayed_and_not_believed(
    quick: Kuro, stub: StubUpstream, tokens: bytes, stream: bool
) -> None:
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": %b}}\n\n' % tokens
    end = event(said("", "stop")) + usage + DONE
    answer = http(event(said("All is well.")) + end) if stream else json_reply(whole(tokens=tokens))
    stub.script("primary", answer)
    status, headers, body = quick.chat(ASK | {"stream": stream})
    assert (status, text_of(body)) == (200, "All is well.")
    record = quick.record(headers["x-request-id"])
    assert 0 <= record["usage"]["prompt"] <= 10**9
    assert record["cost_usd"] >= 0
    _, _, metrics = quick.request("GET", "/metrics")
    assert b"llm_tokens_prompt_total" in metrics


def test_a_model_name_of_a_megabyte_is_recorded_in_short(quick: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", json_reply(whole().replace(b'"m"', b'"%b"' % (b"m" * MB))))
    status, headers, body = quick.chat(ASK)
    assert (status, text_of(body)) == (200, "All is well.")
    assert len(quick.record(headers["x-request-id"])["response_model"]) == 200
