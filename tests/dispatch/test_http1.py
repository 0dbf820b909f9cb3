"""The parser's side of http1: what counts as a response, however it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dispatch.http1 import FIELDS_LIMIT, HEAD_LIMIT, HIGH_WATER, LINE_LIMIT, Connection
from proxy.dispatch.pool import Pool
from proxy.dispatch.response import Response
from proxy.dispatch.trouble import Http1Error, Trouble, Waits
from tests.dispatch.peer import Line, Peer, Script, answering, cuts, once, peer, until

HEAD = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: t\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + LENGTH
ENDLESS = OK + b"X-Y: z\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\nX-Y: z\r\n\r\n"


@asynccontextmanager
async def pool_to(it: Peer, **options: Any) -> AsyncIterator[Pool]:
    pool = Pool("127.0.0.1", it.port, **options)
    try:
        yield pool
    finally:
        await pool.aclose()
        assert pool.counts.open == 0


async def fetch(pool: Pool, waits: Waits | None = None) -> tuple[int, dict[bytes, bytes], bytes]:
    response = await pool.request(HEAD, b"{}", waits or Waits(read=5, head=5, connect=5))
    return response.status, dict(response.headers), await drain(response)


async def drain(response: Response) -> bytes:
    parts = []
    try:
        while data := await response.take():
            parts.append(data)
    finally:
        response.abort()
    return b"".join(parts)


# --- fed by hand: no socket, every partition -------------------------------------------------------


class Wire:
    """A transport that remembers what was asked of it."""

    def __init__(self) -> None:
        self.aborted = False
        self.reading = True
        self.unsent = 0
        self.written = b""

    def get_extra_info(self, _: str) -> Any:
        return self

    def fileno(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Keeper:
    """An owner that remembers what it was told."""

    def __init__(self, loop: Any = None) -> None:
        self.loop = loop
        self.clock: Callable[[], float] = monotonic
        self.told: list[str] = []

    def returned(self, connection: Connection) -> None:
        self.told.append("returned")

    def lost(self, connection: Connection) -> None:
        self.told.append("lost")

    def gone(self, connection: Connection) -> None:
        self.told.append("gone")


def exchange() -> tuple[Connection, Response, Wire, Keeper]:
    keeper = Keeper()
    connection = Connection(keeper)
    wire = Wire()
    connection.connection_made(wire)  # type: ignore[arg-type]
    return connection, connection.send(HEAD, b"{}", Waits()), wire, keeper


def outcome(pieces: list[bytes], end: bool = False) -> tuple[Any, ...]:
    """Everything that can be told from outside after a response was fed in these pieces."""
    connection, response, _, keeper = exchange()
    for piece in pieces:
        connection.data_received(piece)
    if end:
        connection.eof_received()
    body = b"".join(response._parts)
    return response.status, response.headers, body, response.complete, keeper.told


WHOLE = [
    pytest.param(LENGTH, False, id="a body of known length"),
    pytest.param(CHUNKED, False, id="a chunked body with extension and trailer"),
    pytest.param(INTERIM, False, id="two interim responses before it"),
    pytest.param(ENDLESS, True, id="a body that ends with the connection"),
    pytest.param(EMPTY, False, id="no body at all"),
]


@pytest.mark.parametrize(("data", "end"), WHOLE)
def test_byte_by_byte_is_the_same_as_at_once(data: bytes, end: bool) -> None:
    at_once = outcome([data], end)
    assert at_once[3], "the response is complete"
    assert outcome([bytes([byte]) for byte in data], end) == at_once


@pytest.mark.parametrize(("data", "end"), WHOLE)
def test_every_cut_in_two_is_the_same_as_at_once(data: bytes, end: bool) -> None:
    at_once = outcome([data], end)
    assert [cut for cut in cuts(data) if outcome(list(cut), end) != at_once] == []


@given(st.data(), st.sampled_from([(LENGTH, False), (CHUNKED, False), (INTERIM, False), (ENDLESS, True)]))
def test_any_partition_is_the_same_as_at_once(data: st.DataObject, given: tuple[bytes, bool]) -> None:
    response, end = given
    marks = sorted(data.draw(st.sets(st.integers(1, len(response) - 1))))
    pieces = [response[a:b] for a, b in zip([0, *marks], [*marks, len(response)], strict=True)]
    assert outcome(pieces, end) == outcome([response], end)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", OK, LENGTH[:-1], OK + b"Transfer-Encoding: chunked\r\n\r\n"]),
)
def test_no_bytes_whatever_raise_out_of_the_connection(noise: bytes, before: bytes) -> None:
    connection, response, _, keeper = exchange()
    connection.data_received(before + noise)
    connection.eof_received()
    connection.connection_lost(None)
    assert response.complete or response.error is not None
    assert keeper.told.count("lost") == 1
    assert keeper.told[-1] == "gone"


REFUSED = [
    pytest.param(b"SSH-2.0-OpenSSH_9\r\n", id="another protocol"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="TLS where plain text was expected"),
    pytest.param(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", id="101"
    ),
    pytest.param(b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", id="a status below 100"),
    pytest.param(b"HTTP/1.1 700 High\r\nContent-Length: 0\r\n\r\n", id="a status above 599"),
    pytest.param(OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", id="length and chunks"),
    pytest.param(OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n", id="chunks and length"),
    pytest.param(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", id="two different lengths"),
    pytest.param(OK + b"Content-Length: 2, 3\r\n\r\nhi", id="a list of lengths"),
    pytest.param(OK + b"Content-Length: -2\r\n\r\nhi", id="a negative length"),
    pytest.param(OK + b"Content-Length: 99999999999999999999\r\n\r\nhi", id="a length beyond 64 bits"),
    pytest.param(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", id="a second coding"),
    pytest.param(OK + b"Transfer-Encoding: chunked, gzip\r\n\r\nhi", id="chunked is not the last coding"),
    pytest.param(
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked twice"
    ),
    pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhi", id="a chunk size that is no number"),
    pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n-2\r\nhi", id="a negative chunk size"),
    pytest.param(
        OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", id="a chunk size beyond 64 bits"
    ),
    pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhiX\r\n", id="a chunk longer than it says"),
    pytest.param(OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nhi", id="a folded header"),
    pytest.param(OK + b"X: a\x00b\r\nContent-Length: 2\r\n\r\nhi", id="NUL in a header"),
    pytest.param(OK + b"X\x00: a\r\nContent-Length: 2\r\n\r\nhi", id="NUL in a header's name"),
    pytest.param(OK + b"X : a\r\nContent-Length: 2\r\n\r\nhi", id="a space before the colon"),
    pytest.param(OK + b"X: a\rb\r\nContent-Length: 2\r\n\r\nhi", id="a bare CR in a header"),
    pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", id="lines that end with LF only"),
    pytest.param(OK + b"X: y\r\n" * (FIELDS_LIMIT + 1) + b"\r\n", id="too many header lines"),
    pytest.param(OK + b"X: " + b"y" * LINE_LIMIT + b"\r\n\r\n", id="a header line that is too long"),
    pytest.param(OK + b"X: " + b"y" * 2 * HEAD_LIMIT, id="a header line without an end"),
    pytest.param(b"HTTP/1.1 200 " + b"y" * 2 * HEAD_LIMIT, id="a status line without an end"),
    pytest.param(OK + b"X: yyyyyyyyyy\r\n" * 9000, id="a head without an end"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 9000, id="interim responses without an end"),
    pytest.param(
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 2 * HEAD_LIMIT,
        id="trailers without an end",
    ),
]


@pytest.mark.parametrize("cut", [1 << 20, 4096, 100], ids=lambda size: f"in reads of {size}")
@pytest.mark.parametrize("data", REFUSED)
def test_is_refused(data: bytes, cut: int) -> None:
    connection, response, wire, keeper = exchange()
    for start in range(0, len(data), cut):
        connection.data_received(data[start : start + cut])
    assert response.error is not None
    assert response.error.kind is Trouble.BAD_RESPONSE
    assert not response.complete
    assert wire.aborted
    assert keeper.told == ["lost"]


ALLOWED = [
    pytest.param(
        OK + b"X: y\r\n" * (FIELDS_LIMIT - 1) + b"Content-Length: 0\r\n\r\n", id="many header lines"
    ),
    pytest.param(OK + b"X: " + b"y" * 15000 + b"\r\nContent-Length: 0\r\n\r\n", id="a long header line"),
    pytest.param(
        OK + b"Content-Length: 300000\r\n\r\n" + b"x" * 300000, id="a head with a large body at once"
    ),
    pytest.param(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", id="no reason phrase"),
    pytest.param(b"\r\n" + LENGTH, id="an empty line before it"),
    pytest.param(OK + b"cONTENT-lENGTH: 0\r\n\r\n", id="a header's name in any case"),
    pytest.param(OK + b"TRANSFER-Encoding: Chunked \r\n\r\n0\r\n\r\n", id="a coding in any case"),
    pytest.param(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", id="304 with the length it would have"
    ),
    pytest.param(
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", id="204 that claims chunks"
    ),
]


@pytest.mark.parametrize("data", ALLOWED)
def test_is_taken_and_the_connection_kept(data: bytes) -> None:
    connection, response, wire, keeper = exchange()
    connection.data_received(data)
    assert response.complete
    assert keeper.told == ["returned"]
    assert wire.reading


NOT_KEPT = [
    pytest.param(OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n", id="the upstream says close"),
    pytest.param(
        OK + b"Connection: x-y, Close\r\nContent-Length: 0\r\n\r\n", id="the upstream says close among others"
    ),
    pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", id="HTTP/1.0"),
    pytest.param(LENGTH + LENGTH, id="a second response behind it"),
    pytest.param(LENGTH + b"HTTP", id="the beginning of one behind it"),
    pytest.param(LENGTH + b"xx", id="garbage behind it"),
    pytest.param(CHUNKED + b"0\r\n\r\n", id="a second last chunk"),
    pytest.param(EMPTY + b"body", id="a body where there can't be one"),
]


@pytest.mark.parametrize("data", NOT_KEPT)
def test_is_taken_but_the_connection_is_not_kept(data: bytes) -> None:
    connection, response, wire, keeper = exchange()
    connection.data_received(data)
    assert response.complete
    assert b"".join(response._parts) in (b"hello", b"")
    assert keeper.told == ["lost"]
    assert wire.aborted


def test_a_long_stream_may_send_its_chunk_sizes_apart() -> None:
    connection, response, _, keeper = exchange()
    connection.data_received(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(HEAD_LIMIT // 3):
        connection.data_received(b"2\r\n")
        connection.data_received(b"hi\r\n")
    connection.data_received(b"0\r\n\r\n")
    assert response.complete
    assert keeper.told == ["returned"]


def test_bytes_on_an_idle_connection_close_it() -> None:
    connection, _response, wire, keeper = exchange()
    connection.data_received(LENGTH)
    connection.data_received(LENGTH)
    assert wire.aborted
    assert keeper.told == ["returned", "lost"]


def test_a_response_before_the_request_was_written_closes_the_connection() -> None:
    connection, response, wire, keeper = exchange()
    wire.unsent = 1
    connection.data_received(LENGTH)
    assert response.complete
    assert keeper.told == ["lost"]


def test_a_head_is_not_seen_before_it_is_complete() -> None:
    connection, response, _, _ = exchange()
    connection.data_received(LENGTH[:40])
    assert response.status == 0
    assert response.headers == []


def test_names_are_lower_case_and_trailers_are_not_headers() -> None:
    assert outcome([CHUNKED])[1] == [(b"transfer-encoding", b"chunked")]


def test_the_upstream_is_held_back_when_nobody_reads() -> None:
    connection, _response, wire, _ = exchange()
    connection.data_received(OK + b"Content-Length: 10000000\r\n\r\n")
    connection.data_received(b"x" * HIGH_WATER)
    assert wire.reading
    connection.data_received(b"x")
    assert not wire.reading


ENDS = [
    pytest.param(b"", None, Trouble.DISCONNECTED, id="closed without a byte"),
    pytest.param(b"", ConnectionResetError(), Trouble.DISCONNECTED, id="reset without a byte"),
    pytest.param(b"HTT", None, Trouble.TRUNCATED, id="closed inside the head"),
    pytest.param(LENGTH[:-1], None, Trouble.TRUNCATED, id="closed one byte early"),
    pytest.param(LENGTH[:-1], ConnectionResetError(), Trouble.RESET, id="reset one byte early"),
    pytest.param(CHUNKED[:-2], None, Trouble.TRUNCATED, id="closed inside the last chunk"),
    pytest.param(ENDLESS, ConnectionResetError(), Trouble.RESET, id="reset where only an end could end it"),
    pytest.param(
        OK + b"Connection: close\r\nContent-Length: 9\r\n\r\nhi", None, Trouble.TRUNCATED,
        id="closed early although it said that it would close",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "exc", "kind"), ENDS)
def test_an_early_end_is_an_error(data: bytes, exc: Exception | None, kind: Trouble) -> None:
    connection, response, _, keeper = exchange()
    if data:
        connection.data_received(data)
    connection.connection_lost(exc)
    assert response.error is not None
    assert response.error.kind is kind
    assert not response.complete
    assert keeper.told == ["lost", "gone"]


@pytest.mark.parametrize("data", [b"", b"H"], ids=["without a byte", "inside the head"])
def test_an_early_end_on_a_kept_connection(data: bytes) -> None:
    connection, _first, _, _keeper = exchange()
    connection.data_received(LENGTH)
    second = connection.send(HEAD, b"{}", Waits())
    if data:
        connection.data_received(data)
    connection.eof_received()
    assert second.error is not None
    assert second.error.kind is (Trouble.TRUNCATED if data else Trouble.STALE)


LIFETIMES = [
    pytest.param(b"", 30.0, id="unless it says otherwise"),
    pytest.param(b"Keep-Alive: timeout=5, max=100\r\n", 4.0, id="less a margin"),
    pytest.param(b"Keep-Alive: max=1, Timeout=600\r\n", 30.0, id="never longer than our own"),
    pytest.param(b"Keep-Alive: timeout=1\r\n", 0.5, id="half of a second"),
    pytest.param(b"Keep-Alive: timeout=0\r\n", 0.0, id="not at all"),
    pytest.param(b"Keep-Alive: timeout=soon\r\n", 30.0, id="what can't be read is ignored"),
]


@pytest.mark.parametrize(("header", "seconds"), LIFETIMES)
def test_an_idle_connection_lives_as_long_as_the_upstream_says(header: bytes, seconds: float) -> None:
    connection, _, _, _ = exchange()
    connection.data_received(OK + header + b"Content-Length: 0\r\n\r\n")
    connection.rest(30.0, 100.0)
    assert connection.expires == 100.0 + seconds


# --- over sockets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "end"), WHOLE)
async def test_arrives_over_a_socket_byte_by_byte(data: bytes, end: bool) -> None:
    close = Line.close if end else None
    script = once(*[bytes([byte]) for byte in data], then=close)
    async with peer(script) as it, pool_to(it) as pool:
        status, _, body = await fetch(pool)
        assert (status, body) in ((200, b"hello"), (204, b""))


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param(once(then=Line.close), Trouble.DISCONNECTED, id="closed"),
        pytest.param(once(then=Line.half_close), Trouble.DISCONNECTED, id="half closed"),
        pytest.param(once(then=Line.reset), Trouble.DISCONNECTED, id="reset"),
        pytest.param(
            once(LENGTH[:-1], then=Line.half_close), Trouble.TRUNCATED, id="half closed in the body"
        ),
        pytest.param(once(LENGTH[:-1], then=Line.close), Trouble.TRUNCATED, id="closed in the body"),
        pytest.param(once(b"nonsense\r\n\r\n"), Trouble.BAD_RESPONSE, id="not HTTP"),
    ],
)
async def test_fails_over_a_socket(script: Script, kind: Trouble) -> None:
    async with peer(script) as it, pool_to(it) as pool:
        with pytest.raises(Http1Error) as caught:
            await fetch(pool)
        assert caught.value.kind is kind
        assert pool.counts.open == 0


async def test_an_upstream_that_half_closes_after_its_response_is_not_asked_again() -> None:
    async with peer(once(LENGTH, then=Line.half_close)) as it, pool_to(it) as pool:
        assert (await fetch(pool))[2] == b"hello"
        await until(lambda: pool.counts.open == 0)
        assert (await fetch(pool))[2] == b"hello"
        assert it.accepted == 2


async def test_what_came_before_the_trouble_can_still_be_read() -> None:
    async with peer(once(LENGTH[:-1], then=Line.close)) as it, pool_to(it) as pool:
        response = await pool.request(HEAD, b"{}", Waits())
        await until(lambda: pool.counts.open == 0)
        assert await response.take() == b"hell"
        for _ in range(2):
            with pytest.raises(Http1Error, match="in the middle"):
                await response.take()


async def test_a_response_can_be_read_after_its_connection_serves_another() -> None:
    async with peer(answering(LENGTH)) as it, pool_to(it, limit=1) as pool:
        first = await pool.request(HEAD, b"{}", Waits())
        await until(lambda: first.complete)
        second = await pool.request(HEAD, b"{}", Waits())
        assert await drain(first) == await drain(second) == b"hello"
        assert it.accepted == 1


async def test_the_upstream_is_really_held_back_and_goes_on_when_it_is_read() -> None:
    size = 24 * 1024 * 1024
    sent = 0

    async def script(line: Line) -> None:
        nonlocal sent
        await line.request()
        await line.send(OK + b"Content-Length: %d\r\n\r\n" % size)
        while sent < size:
            line.writer.write(b"x" * 65536)
            await line.writer.drain()
            sent += 65536
        await line.closed()

    async with peer(script) as it, pool_to(it) as pool:
        response = await pool.request(HEAD, b"{}", Waits())
        before = -1
        while sent != before:  # until nothing moves any more
            before = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < size
        assert response.size <= HIGH_WATER + 256 * 1024
        assert len(await drain(response)) == size


async def test_a_large_request_is_written_while_the_upstream_takes_its_time() -> None:
    body = b"z" * 20_000_000
    go = asyncio.Event()

    async def script(line: Line) -> None:
        head = await line.head()
        assert b"content-length: 20000000" in head
        await go.wait()
        assert await line.reader.readexactly(len(body)) == body
        await line.send(LENGTH)
        await line.closed()

    async with peer(script) as it, pool_to(it) as pool:
        head = HEAD.replace(b": 2\r", b": 20000000\r")
        asking = asyncio.ensure_future(pool.request(head, body, Waits()))
        await until(lambda: it.accepted)
        go.set()
        assert await drain(await asking) == b"hello"
        assert pool.counts.idle == 1


async def test_an_answer_before_the_request_was_taken_is_given_and_the_connection_closed() -> None:
    async def script(line: Line) -> None:
        await line.head()
        await line.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await line.closed()

    async with peer(script) as it, pool_to(it) as pool:
        head = HEAD.replace(b": 2\r", b": 50000000\r")
        response = await pool.request(head, b"z" * 50_000_000, Waits(head=5, write=5))
        assert response.status == 413
        assert await drain(response) == b"no"
        assert pool.counts.open == 0


# --- poured ----------------------------------------------------------------------------------------


class Cup:
    """Takes so many pieces, the one that it refuses included."""

    def __init__(self, takes: int = 10**9) -> None:
        self.got: list[bytes] = []
        self._left = takes

    def __call__(self, data: bytes) -> bool:
        self.got.append(data)
        self._left -= 1
        return self._left > 0


def stepwise(*pieces: bytes, then: Callable[[Line], Any] | None = None) -> tuple[Script, list[asyncio.Event]]:
    """A script that sends a piece when its event is set."""
    events = [asyncio.Event() for _ in pieces]

    async def script(line: Line) -> None:
        await line.request()
        for piece, event in zip(pieces, events, strict=True):
            await event.wait()
            await line.send(piece)
        if then is not None:
            then(line)

    return script, events


async def test_what_is_poured_comes_piece_by_piece_to_the_end() -> None:
    script, events = stepwise(OK + b"Content-Length: 6\r\n\r\nab", b"cd", b"ef")
    async with peer(script) as it, pool_to(it) as pool:
        events[0].set()
        response, cup = await pool.request(HEAD, b"{}", Waits()), Cup()
        pouring = asyncio.create_task(response.pour(cup))
        for number, event in enumerate(events):
            event.set()
            await until(lambda: len(cup.got) > number)  # noqa: B023  # asked before the next turn
        await pouring
        assert cup.got == [b"ab", b"cd", b"ef"]
        assert await response.take() == b""
        assert pool.counts.idle == 1


async def test_a_sink_that_has_had_enough_leaves_the_rest_to_be_taken() -> None:
    script, events = stepwise(OK + b"Content-Length: 6\r\n\r\nab", b"cd", b"ef")
    async with peer(script) as it, pool_to(it) as pool:
        events[0].set()
        response, cup = await pool.request(HEAD, b"{}", Waits()), Cup(takes=2)
        pouring = asyncio.create_task(response.pour(cup))
        events[1].set()
        await pouring
        events[2].set()
        assert cup.got == [b"ab", b"cd"]
        assert await response.take() == b"ef"


async def test_pouring_raises_what_taking_would() -> None:
    script, events = stepwise(OK + b"Content-Length: 6\r\n\r\nab", b"cd", then=Line.close)
    async with peer(script) as it, pool_to(it) as pool:
        for event in events:
            event.set()
        response, cup = await pool.request(HEAD, b"{}", Waits()), Cup()
        with pytest.raises(Http1Error, match="in the middle"):
            await response.pour(cup)
        assert b"".join(cup.got) == b"abcd"


async def test_silence_while_pouring_is_a_timeout_and_each_piece_winds_the_clock() -> None:
    script, events = stepwise(OK + b"Content-Length: 6\r\n\r\nab", b"cd", b"never")
    async with peer(script) as it, pool_to(it) as pool:
        events[0].set()
        response, cup = await pool.request(HEAD, b"{}", Waits(read=0.3)), Cup()
        began = monotonic()
        pouring = asyncio.create_task(response.pour(cup))
        await asyncio.sleep(0.2)
        events[1].set()
        with pytest.raises(Http1Error) as caught:
            await pouring
        assert caught.value.kind is Trouble.READ_TIMEOUT
        assert monotonic() - began >= 0.5
        assert cup.got == [b"ab", b"cd"]


async def test_pouring_that_is_cancelled_stops_at_once() -> None:
    script, events = stepwise(OK + b"Content-Length: 6\r\n\r\nab", b"cd", b"ef")
    async with peer(script) as it, pool_to(it) as pool:
        events[0].set()
        response, cup = await pool.request(HEAD, b"{}", Waits()), Cup()
        pouring = asyncio.create_task(response.pour(cup))
        await until(lambda: bool(cup.got))
        pouring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pouring
        events[1].set()
        assert await response.take() == b"cd"
        assert cup.got == [b"ab"]
        response.abort()


async def test_pouring_goes_on_however_much_comes_at_once() -> None:
    body = bytes(4 * HIGH_WATER)
    async with peer(once(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)) as it, pool_to(it) as pool:
        response, cup = await pool.request(HEAD, b"{}", Waits(read=5)), Cup()
        await response.pour(cup)
        assert b"".join(cup.got) == body
