"""The event stream reader against a slow, obviously right one, over every way to split the bytes."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import UpstreamError
from proxy.types import FailureKind
from proxy.wire import sse
from tests.wire.whatwg import parse

Parsed = list[tuple[bytes, bytes]]


def reference(stream: bytes) -> Parsed:
    """(name, data) of every event that has data, as the standard tells it; see `test_sse_standard`."""
    told = parse(re.sub(rb"\A(?:\xef\xbb\xbf)+", b"", stream) + b"\n\n")
    return [(m.type.encode().removeprefix(b"message"), m.data.encode()) for m in told.messages if m.data]


def read(pieces: list[bytes]) -> tuple[Parsed, bytes]:
    """What the reader makes of the pieces: (name, data) of each event with data, and all raw bytes."""
    reader = sse.Reader()
    blocks = [reader.feed(piece) for piece in pieces]
    blocks.append(reader.close())
    events = [event for block in blocks for event in sse.events(block)]
    for block in blocks:
        agree(block)
    told = [(event.name, event.data) for event in events if event.data]
    return told, b"".join(event.raw for event in events)


def agree(block: bytes) -> None:
    """The quick way, where it takes a block, says what the slow one does."""
    joined = sse.joined(block, b"\0")
    if joined is None:
        return
    payloads, count = joined
    events = list(sse.events(block))
    assert payloads.split(b"\0") == [event.data for event in events]
    assert count == len(events)
    assert b"".join(event.raw for event in events) == block
    assert sse.last_event(block) == len(block) - len(events[-1].raw)


def halves(stream: bytes) -> list[list[bytes]]:
    return [[stream[:cut], stream[cut:]] for cut in range(len(stream) + 1)]


FRAGMENTS = [
    b"data: ", b"data:", b"data", b"event: ", b"id: 7", b"id", b"retry: 5", b": note", b":", b" ", b"x",
    b'{"a":1}', b"[DONE]", "é".encode(), "漢".encode(), "🌍".encode(), b"\xef\xbb\xbf",
    b"\n", b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n",
]  # fmt: skip

streams = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join)


@given(streams, st.data())
@example(b"data: a\n\ndata: b\n\n", None)
def test_any_partition_reads_as_the_reference_does(stream: bytes, data: st.DataObject | None) -> None:
    cuts = [] if data is None else data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert read(pieces)[0] == reference(stream)
    assert read(pieces) == read([stream])


@given(streams)
def test_byte_by_byte_reads_as_whole(stream: bytes) -> None:
    assert read([bytes([byte]) for byte in stream]) == read([stream])


@pytest.mark.parametrize("letter", ["é", "漢", "🌍"], ids=["two bytes", "three bytes", "four bytes"])
@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_every_split_point_of_a_letter(letter: str, eol: str) -> None:
    stream = f"data: {letter}a{eol}{eol}data: b{letter}{eol}{eol}".encode()
    expected = [(b"", f"{letter}a".encode()), (b"", f"b{letter}".encode())]
    for pieces in halves(stream):
        assert read(pieces)[0] == expected


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\n", [(b"", b"a")], id="one event"),
        pytest.param(b"data:a\n\ndata:  b\n\n", [(b"", b"a"), (b"", b" b")], id="one space is no data"),
        pytest.param(b"data: a\ndata: b\n\n", [(b"", b"a\nb")], id="data lines are joined by LF"),
        pytest.param(b"event: e\ndata: a\n\ndata: b\n\n", [(b"e", b"a"), (b"", b"b")], id="one name"),
        pytest.param(b": hi\n\ndata: a\n\n", [(b"", b"a")], id="comments say nothing"),
        pytest.param(b"data\n\ndata:\n\ndata: \n\n", [], id="events without data say nothing"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [(b"", b"a")], id="a byte order mark is skipped"),
        pytest.param(b"data: a\r\n\rdata: b\r\r\n", [(b"", b"a"), (b"", b"b")], id="mixed line ends"),
        pytest.param(b"data: a", [(b"", b"a")], id="a last event may lack its blank line"),
        pytest.param(b"DATA: a\nfoo: b\n\n", [], id="unknown fields say nothing"),
        pytest.param(b"\n\n\n\ndata: a\n\n\n\n", [(b"", b"a")], id="blank lines say nothing"),
    ],
)  # fmt: skip
def test_events(stream: bytes, expected: Parsed) -> None:
    assert reference(stream) == expected
    for pieces in [[stream], *halves(stream)]:
        assert read(pieces)[0] == expected


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        pytest.param(b"id: 1\ndata: a\n\n", b"data: a\n\n", id="before the data"),
        pytest.param(b"data: a\r\nid\r\n\r\n", b"data: a\n\n", id="without a value, after the data"),
        pytest.param(b"data: a\rid: 1\n\n", b"data: a\n\n", id="between a CR and an LF"),
        pytest.param(
            b"data: id: 1\nidx: 2\n\n", b"data: id: 1\nidx: 2\n\n", id="not what only looks like one"
        ),
    ],
)
def test_id_lines_are_taken_out(raw: bytes, kept: bytes) -> None:
    assert [event.raw for event in sse.events(raw)] == [kept]


def test_a_read_of_whole_events_is_handed_on_as_it_is() -> None:
    reader = sse.Reader()
    reader.feed(b"data: 0\n\n")
    read = b"data: 1\n\ndata: 2\n\n"
    assert reader.feed(read) is read


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param(b"data: 1\n\n", (b"1", 1), id="one"),
        pytest.param(b"data: 1\n\ndata: 2\n\n", (b"1,2", 2), id="two"),
        pytest.param(b"data:1\r\n\r\ndata:2\r\n\r\n", (b"1,2", 2), id="CRLF, no space"),
        pytest.param(b"data: 1\r2\n\n", None, id="a CR within a line ends it"),
        pytest.param(b"event: x\ndata: 1\n\n", None, id="a name"),
        pytest.param(b"data: 1\n\n: x\n\n", None, id="a comment"),
        pytest.param(b"data: 1\ndata: 2\n\n", None, id="two data lines"),
        pytest.param(b"data: 1\n\nid: 2\n\n", None, id="an id"),
        pytest.param(b"data: 1\n\n\n", None, id="a blank line too many"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_joined(block: bytes, expected: tuple[bytes, int] | None) -> None:
    assert sse.joined(block, b",") == expected


def test_an_endless_event_is_refused() -> None:
    reader = sse.Reader(limit=100)
    reader.feed(b"data: ")
    with pytest.raises(UpstreamError, match="more than 100 bytes") as caught:
        for _ in range(20):
            reader.feed(b"x" * 10)
    assert caught.value.failure.kind is FailureKind.BAD_RESPONSE


def test_many_events_beyond_the_limit_together_are_no_endless_event() -> None:
    reader = sse.Reader(limit=100)
    for _ in range(100):
        assert reader.feed(b"data: 12345\n") == b""
        assert reader.feed(b"\n") == b"data: 12345\n\n"
