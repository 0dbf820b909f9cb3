"""The event stream reader, and what it relays, against the standard: at every split and at random."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire import sse
from tests.wire.whatwg import EventStream, Message, parse

BOM = b"\xef\xbb\xbf"


def standard(stream: bytes) -> EventStream:
    """What the standard reads, with the liberties that `sse` takes: a last event may lack its blank line,
    ids are not interpreted, an event with empty data is none, and any number of marks may stand in front."""
    while stream.startswith(BOM + BOM):
        stream = stream[3:]
    told = parse(stream + b"\n\n")
    told.messages = [Message(m.type, m.data) for m in told.messages if m.data]
    return told


def read(pieces: list[bytes]) -> tuple[list[Message], bytes]:
    """The messages that the reader finds, and the bytes that it would relay."""
    reader = sse.Reader()
    blocks = [reader.feed(piece) for piece in pieces]
    blocks.append(reader.close())
    events = [event for block in blocks for event in sse.events(block)]
    messages = [
        Message(event.name.decode("utf-8", "replace") or "message", event.data.decode("utf-8", "replace"))
        for event in events
        if event.data
    ]
    return messages, b"".join(event.raw for event in events)


def agrees(stream: bytes, pieces: list[bytes]) -> None:
    """The reader finds what the standard finds; so does whoever reads what was relayed, which has no ids."""
    expected = standard(stream)
    messages, relayed = read(pieces)
    assert messages == expected.messages
    again = parse(relayed)
    assert [Message(m.type, m.data) for m in again.messages if m.data] == expected.messages
    assert again.retries == expected.retries
    assert not again.unfinished
    assert all(m.last_event_id == "" for m in again.messages)


def cut(stream: bytes, *at: int) -> list[bytes]:
    return [stream[a:b] for a, b in pairwise([0, *sorted(at), len(stream)])]


def bytewise(stream: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in stream]


# --- the standard's own examples, and what is awkward in it --------------------------------------

CASES = {
    "the first example": b"data: YHOO\ndata: +2\ndata: 10\n\n",
    "comments, ids and a space that counts": b": test stream\n\ndata: first event\nid: 1\n\n"
    b"data:second event\nid\n\ndata:  third event",
    "data lines without a colon": b"data\n\ndata\ndata\n\ndata:",
    "with the space and without": b"data:test\n\ndata: test\n\n",
    "a mark at the start": BOM + b"data: a\n\n",
    "a mark at the start and one elsewhere": BOM + b"data: a\n\n" + BOM + b"data: b\n\ndata: c\n\n",
    "two marks at the start": BOM + BOM + b"data: a\n\ndata: b\n\n",
    "a mark in the data": b"data: " + BOM + b"a\n\n",
    "half a mark": BOM[:2] + b"data: a\n\ndata: b\n\n",
    "LF": b"event: e\ndata: a\n\ndata: b\n\n",
    "CRLF": b"event: e\r\ndata: a\r\n\r\ndata: b\r\n\r\n",
    "CR": b"event: e\rdata: a\r\rdata: b\r\r",
    "every end in turn": b"data: a\r\rdata: b\n\r\ndata: c\r\n\rdata: d\r\r\n"
    b"data: e\n\rdata: f\r\n\ndata: g\n\n",
    "CR, then LF twice": b"data: a\r\n\ndata: b\r\n\n",
    "NUL in an id": b"id: a\0b\ndata: a\n\nid: 7\ndata: b\n\n",
    "an id that keeps a CR and an LF apart": b"data: a\rid: 1\n\ndata: b\n\n",
    "retry, and what is none": b"retry: 10\ndata: a\n\nretry: 1x\nretry:20\n\nretry\ndata: b\n\n",
    "a retry alone": b"retry: 3000\n\ndata: a\n\n",
    "names": b"event: a\nevent: b\ndata: 1\n\nevent\ndata: 2\n\nevent: c\n\ndata: 3\n\n",
    "unknown fields": b"foo: 1\n data: x\ndata : x\nDATA: x\ndata: a\n\n",
    "colons": b"data:: a\n\n:data: x\ndata: a:b\n\n",
    "spaces": b"data:   a \n\ndata:\ta\n\nevent:  e\ndata: a\n\n",
    "several lines, some of them empty": b"data: a\ndata\ndata:\ndata: b\n\n",
    "blank lines in plenty": b"\n\r\n\r\r\n\ndata: a\n\n\n\n\r\rdata: b\n\n\n",
    "no blank line at the end": b"data: a\n\nevent: e\ndata: b",
    "no end of the last line, CR": b"data: a\r\rdata: b\r",
    "a comment at the end": b"data: a\n\n: bye",
    "what is no UTF-8": b"data: a\xff\xfe\n\ndata: \xe2\x82\nevent: \xc3\n\n",
}


@pytest.mark.parametrize("stream", CASES.values(), ids=CASES.keys())
def test_at_every_split(stream: bytes) -> None:
    agrees(stream, [stream])
    agrees(stream, bytewise(stream))
    for at in range(len(stream) + 1):
        agrees(stream, cut(stream, at))


LETTERS = {"two bytes": "é", "three bytes": "漢", "four bytes": "🌍", "the mark itself": "\ufeff"}
ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS.keys())
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_at_every_two_splits_of_letters_of_several_bytes(letter: str, end: str) -> None:
    stream = f"event: {letter}{end}data: {letter}{end}{end}data:{letter}{letter}{end}{end}".encode()
    assert len(standard(stream).messages) == 2
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            agrees(stream, cut(stream, first, second))


@pytest.mark.parametrize(("end", "late"), [(b"\n", 0), (b"\r\n", 0), (b"\r", 1)], ids=["LF", "CRLF", "CR"])
def test_an_event_is_told_as_soon_as_its_blank_line_is_there(end: bytes, late: int) -> None:
    event = b"data: a" + end + end
    reader = sse.Reader()
    told = [reader.feed(piece) for piece in bytewise(event * 3)]
    whole = [at for at, block in enumerate(told) if block]
    assert whole == [at for at in (len(event) * n - 1 + late for n in (1, 2, 3)) if at < len(told)]


# --- generated -----------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [b"data", b"data", b"data", b"event", b"id", b"retry", b"Data", b"dat", b" data", b""]
)
VALUES = st.one_of(
    st.sampled_from([b"", b" ", b"a", b"[DONE]", b'{"a": 1}', b"12", b"a\0b", b":", BOM, "é漢🌍".encode()]),
    st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=6).map(str.encode),
    st.binary(max_size=4).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"")),
)  # fmt: skip
COLONS = st.sampled_from([b":", b": ", b":  ", b""])
LINES = st.one_of(st.tuples(NAMES, COLONS, VALUES).map(b"".join), st.just(b""), st.just(b""))
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.tuples(
    st.sampled_from([b"", b"", BOM, BOM + BOM, BOM[:1]]),
    st.lists(st.tuples(LINES, LINE_ENDS).map(b"".join), max_size=25).map(b"".join),
    st.sampled_from([b"", b"", b"data: unfinished", b"data", b": c", b"\r"]),
).map(b"".join)


@settings(max_examples=300)
@given(STREAMS, st.data())
def test_generated_streams_cut_anywhere(stream: bytes, data: st.DataObject) -> None:
    at = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    agrees(stream, cut(stream, *at))


@settings(max_examples=150)
@given(STREAMS)
def test_generated_streams_byte_by_byte(stream: bytes) -> None:
    agrees(stream, [stream])
    agrees(stream, bytewise(stream))
