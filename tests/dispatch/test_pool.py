"""The pool over real sockets: reuse, limits, turns, deadlines, and no slot lost when somebody gives up."""

from __future__ import annotations

import asyncio
import random
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import trustme

from proxy.dispatch.pool import Counts, Pool
from proxy.dispatch.response import Response
from proxy.dispatch.trouble import Http1Error, Trouble, Waits
from tests.dispatch.peer import Clock, Line, Peer, Script, answering, once, peer, unanswering, until

HEAD = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n"
BIG = HEAD.replace(b": 2\r", b": 50000000\r")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"


@asynccontextmanager
async def pool_to(it: Peer, **options: Any) -> AsyncIterator[Pool]:
    pool = Pool(options.pop("host", "127.0.0.1"), it.port, **options)
    try:
        yield pool
    finally:
        await pool.aclose()
        assert pool.counts == Counts(0, 0, 0)


async def fetch(pool: Pool, waits: Waits | None = None, *, fresh: bool = False) -> bytes:
    response = await pool.request(HEAD, b"{}", waits or Waits(), fresh=fresh)
    return await drain(response)


async def drain(response: Response) -> bytes:
    parts = []
    try:
        while data := await response.take():
            parts.append(data)
    finally:
        response.abort()
    return b"".join(parts)


class Gate:
    """A script that answers a request only when it is let through, and counts who waits there."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most = 0
        self.open = asyncio.Semaphore(0)

    async def __call__(self, line: Line) -> None:
        while await line.request():
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            await self.open.acquire()
            self.waiting -= 1
            await line.send(OK)


# --- reuse -----------------------------------------------------------------------------------------


async def test_one_after_the_other_they_share_a_connection() -> None:
    async with peer(answering(OK)) as it, pool_to(it) as pool:
        for _ in range(10):
            assert await fetch(pool) == b"hello"
        assert it.accepted == 1
        assert pool.counts == Counts(open=1, idle=1, waiting=0)


async def test_side_by_side_they_have_one_each() -> None:
    gate = Gate()
    async with peer(gate) as it, pool_to(it) as pool:
        asking = [asyncio.ensure_future(fetch(pool)) for _ in range(5)]
        await until(lambda: gate.waiting == 5)
        assert pool.counts == Counts(open=5, idle=0, waiting=0)
        for _ in range(5):
            gate.open.release()
        assert await asyncio.gather(*asking) == [b"hello"] * 5
        assert pool.counts == Counts(open=5, idle=5, waiting=0)


async def test_fresh_gets_a_new_connection_beside_the_idle_one() -> None:
    async with peer(answering(OK)) as it, pool_to(it) as pool:
        await fetch(pool)
        await fetch(pool, fresh=True)
        assert it.accepted == 2
        assert pool.counts.idle == 2


async def test_fresh_takes_the_place_of_an_idle_one_when_there_is_no_room() -> None:
    async with peer(answering(OK)) as it, pool_to(it, limit=1) as pool:
        await fetch(pool)
        await fetch(pool, fresh=True)
        assert it.accepted == 2
        assert pool.counts == Counts(open=1, idle=1, waiting=0)


async def test_fresh_waits_for_its_turn_and_still_gets_a_new_connection() -> None:
    gate = Gate()
    async with peer(gate) as it, pool_to(it, limit=1) as pool:
        first = asyncio.ensure_future(fetch(pool))
        await until(lambda: gate.waiting == 1)
        second = asyncio.ensure_future(fetch(pool, fresh=True))
        await until(lambda: pool.counts.waiting == 1)
        gate.open.release()
        gate.open.release()
        assert await asyncio.gather(first, second) == [b"hello"] * 2
        assert it.accepted == 2
        assert pool.counts == Counts(open=1, idle=1, waiting=0)


async def test_an_expired_connection_is_not_used_again() -> None:
    clock = Clock()
    async with peer(answering(OK)) as it, pool_to(it, clock=clock) as pool:
        await fetch(pool)
        clock.now += 29
        await fetch(pool)
        assert it.accepted == 1
        clock.now += 30
        await fetch(pool)
        assert it.accepted == 2
        assert pool.counts.open == 1


async def test_an_idle_connection_is_closed_when_it_expires_though_nobody_asks() -> None:
    async with peer(answering(OK)) as it, pool_to(it, keep_alive=0.05) as pool:
        await fetch(pool)
        await until(lambda: pool.counts.open == 0)


async def test_a_connection_that_the_upstream_closes_while_idle_is_forgotten() -> None:
    async with peer(once(OK, then=Line.close)) as it, pool_to(it) as pool:
        await fetch(pool)
        await until(lambda: pool.counts.open == 0)
        await fetch(pool)
        assert it.accepted == 2


@pytest.mark.parametrize("late", [b"", OK], ids=["an end", "bytes that nobody asked for"])
async def test_what_reached_an_idle_socket_is_seen_before_the_loop_reports_it(late: bytes) -> None:
    lines: list[Line] = []

    async def script(line: Line) -> None:
        lines.append(line)
        while await line.request():
            await line.send(OK)

    async with peer(script) as it, pool_to(it) as pool:
        await fetch(pool)
        handle = lines[0].writer.get_extra_info("socket")
        with socket.fromfd(handle.fileno(), socket.AF_INET, socket.SOCK_STREAM) as raw:
            raw.sendall(late) if late else raw.shutdown(socket.SHUT_WR)
        assert await fetch(pool) == b"hello"
        assert it.accepted == 2


async def test_a_kept_connection_that_closes_on_the_next_request_is_stale_and_a_fresh_one_is_not() -> None:
    async def script(line: Line) -> None:
        await line.request()
        if line.number != 2:
            await line.send(OK)
            await line.request()

    async with peer(script) as it, pool_to(it) as pool:
        await fetch(pool)
        with pytest.raises(Http1Error) as stale:
            await fetch(pool)
        assert stale.value.kind is Trouble.STALE
        with pytest.raises(Http1Error) as disconnected:
            await fetch(pool, fresh=True)
        assert disconnected.value.kind is Trouble.DISCONNECTED
        assert await fetch(pool, fresh=True) == b"hello"
        assert it.accepted == 3


# --- turns -----------------------------------------------------------------------------------------


async def test_never_more_than_the_limit_and_in_the_order_of_asking() -> None:
    gate = Gate()
    done: list[int] = []

    async def ask(number: int) -> None:
        await fetch(pool)
        done.append(number)

    async with peer(gate) as it, pool_to(it, limit=2) as pool:
        asking = []
        for number in range(8):
            asking.append(asyncio.ensure_future(ask(number)))
            await until(lambda n=number: gate.waiting + pool.counts.waiting == n + 1)
        assert pool.counts == Counts(open=2, idle=0, waiting=6)
        for finished in range(1, 9):
            gate.open.release()
            await until(lambda n=finished: len(done) == n)
        assert done == list(range(8))
        assert gate.most == 2
        assert it.accepted == 2
        await asyncio.gather(*asking)


async def test_a_closed_connection_makes_room_for_the_next_in_line() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")

    async with peer(script) as it, pool_to(it, limit=1) as pool:
        assert await asyncio.gather(*(fetch(pool) for _ in range(5))) == [b"hi"] * 5
        assert it.accepted == 5
        assert pool.counts == Counts(0, 0, 0)


async def test_a_connection_that_dies_on_its_way_to_the_next_in_line_costs_it_nothing() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(OK + b"!") if line.number == 1 else await line.send(OK)
        await line.request()

    async with peer(script) as it, pool_to(it, limit=1) as pool:
        assert await asyncio.gather(fetch(pool), fetch(pool)) == [b"hello"] * 2


async def test_waiting_for_a_turn_ends_in_time() -> None:
    clock = Clock()
    gate = Gate()
    async with peer(gate) as it, pool_to(it, limit=1, clock=clock) as pool:
        first = asyncio.ensure_future(fetch(pool))
        await until(lambda: gate.waiting == 1)
        hasty = asyncio.ensure_future(fetch(pool, Waits(pool=5)))
        patient = asyncio.ensure_future(fetch(pool, Waits(pool=500)))
        await until(lambda: pool.counts.waiting == 2)
        clock.now += 6
        with pytest.raises(Http1Error) as caught:
            await hasty
        assert caught.value.kind is Trouble.POOL_TIMEOUT
        assert pool.counts == Counts(open=1, idle=0, waiting=1)
        gate.open.release()
        gate.open.release()
        assert await asyncio.gather(first, patient) == [b"hello"] * 2


async def test_any_mixture_of_asking_and_giving_up_loses_no_slot() -> None:
    chance = random.Random(7)

    async def script(line: Line) -> None:
        while await line.request():
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            how = chance.randrange(10)
            if how == 0:
                return
            await line.send(*(OK[:20], OK[20:]) if how < 5 else (OK,))

    async def ask() -> None:
        try:
            assert await fetch(pool, fresh=chance.random() < 0.1) == b"hello"
        except Http1Error as error:
            assert error.kind in (Trouble.STALE, Trouble.DISCONNECTED)

    async with peer(script) as it, pool_to(it, limit=4) as pool:
        asking = [asyncio.ensure_future(ask()) for _ in range(400)]
        for _ in range(300):
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                chance.choice(asking).cancel()
            assert pool.counts.open <= 4
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert [r for r in results if r is not None and not isinstance(r, asyncio.CancelledError)] == []
        assert pool.counts.waiting == 0
        assert pool.counts.open == pool.counts.idle <= 4


# --- giving up and running out of time, at every stage ---------------------------------------------


async def silent(line: Line) -> None:
    """Takes the request and says nothing."""
    await line.request()
    await line.closed()


async def deaf(line: Line) -> None:
    """Takes nothing but the head of the request."""
    await line.head()
    line.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


STAGES: list[Any] = [
    pytest.param(silent, HEAD, b"{}", Waits(head=5), Trouble.READ_TIMEOUT, id="waiting for the head"),
    pytest.param(once(BEGUN), HEAD, b"{}", Waits(read=5), Trouble.READ_TIMEOUT, id="reading the body"),
    pytest.param(deaf, BIG, b"z" * 50_000_000, Waits(write=5), Trouble.WRITE_TIMEOUT, id="writing the body"),
]


@pytest.mark.parametrize(("script", "head", "body", "waits", "kind"), STAGES)
async def test_time_runs_out(script: Script, head: bytes, body: bytes, waits: Waits, kind: Trouble) -> None:
    clock = Clock()
    async with peer(script) as it, pool_to(it, clock=clock) as pool:
        asking = asyncio.ensure_future(_whole(pool, head, body, waits))
        await _stalled(it, pool)
        clock.now += 4
        await _ticks()
        assert not asking.done()
        clock.now += 2
        with pytest.raises(Http1Error) as caught:
            await asking
        assert caught.value.kind is kind
        assert pool.counts == Counts(0, 0, 0)


@pytest.mark.parametrize(("script", "head", "body", "waits", "kind"), STAGES)
async def test_given_up(script: Script, head: bytes, body: bytes, waits: Waits, kind: Trouble) -> None:
    async with peer(script) as it, pool_to(it, limit=1) as pool:
        asking = asyncio.ensure_future(_whole(pool, head, body, Waits()))
        await _stalled(it, pool)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert pool.counts == Counts(0, 0, 0)


async def _whole(pool: Pool, head: bytes, body: bytes, waits: Waits) -> bytes:
    return await drain(await pool.request(head, body, waits))


async def _stalled(it: Peer, pool: Pool) -> None:
    """Until the request stands where its script leaves it."""
    await until(lambda: it.accepted)
    for _ in range(300):
        await asyncio.sleep(0)
    assert pool.counts == Counts(open=1, idle=0, waiting=0)


async def _ticks() -> None:
    """Two ticks: time enough to notice."""
    await asyncio.sleep(0.12)


async def test_each_piece_of_the_body_has_the_whole_wait_to_itself() -> None:
    clock = Clock()
    more = asyncio.Event()

    async def script(line: Line) -> None:
        await line.request()
        await line.send(BEGUN)
        for piece in (b"l", b"l", b"o"):
            await more.wait()
            more.clear()
            await line.send(piece)
        await line.closed()

    async with peer(script) as it, pool_to(it, clock=clock) as pool:
        response = await pool.request(HEAD, b"{}", Waits(head=5, read=5))
        got = await response.take()
        while got != b"hello":
            reading = asyncio.ensure_future(response.take())
            await asyncio.sleep(0)
            clock.now += 4
            more.set()
            got += await reading


async def test_nobody_reading_is_no_time_running_out() -> None:
    clock = Clock()
    async with peer(once(BEGUN)) as it, pool_to(it, clock=clock) as pool:
        response = await pool.request(HEAD, b"{}", Waits(head=5, read=5))
        clock.now += 1000
        await _ticks()
        assert await response.take() == b"he"
        response.abort()
        response.abort()
        assert pool.counts.open == 0


async def test_given_up_in_the_queue_the_turn_passes_to_the_next() -> None:
    gate = Gate()
    async with peer(gate) as it, pool_to(it, limit=1) as pool:
        first, second, third = (asyncio.ensure_future(fetch(pool)) for _ in range(3))
        await until(lambda: gate.waiting == 1 and pool.counts.waiting == 2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert pool.counts.waiting == 1
        gate.open.release()
        gate.open.release()
        assert await asyncio.gather(first, third) == [b"hello"] * 2


@pytest.mark.parametrize("keep", [True, False], ids=["a connection", "room for one"])
async def test_given_up_at_the_very_moment_of_its_turn_it_passes_on_what_it_got(keep: bool) -> None:
    gate = Gate()
    async with peer(gate) as it, pool_to(it, limit=1) as pool:
        first = await _begun(pool, gate)
        second, third = (asyncio.ensure_future(fetch(pool)) for _ in range(2))
        await until(lambda: pool.counts.waiting == 2)
        if keep:
            gate.open.release()
            await until(lambda: pool.counts.waiting == 1)
        else:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            assert pool.counts.waiting == 1
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.open.release()
        gate.open.release()
        assert await third == b"hello"
        await asyncio.gather(first, return_exceptions=True)
        assert pool.counts == Counts(open=1, idle=1, waiting=0)


async def _begun(pool: Pool, gate: Gate) -> asyncio.Task[bytes]:
    asking = asyncio.ensure_future(fetch(pool))
    await until(lambda: gate.waiting == 1)
    return asking


async def test_connecting_ends_in_time() -> None:
    with unanswering() as port:
        pool = Pool("127.0.0.1", port)
        with pytest.raises(Http1Error) as caught:
            await fetch(pool, Waits(connect=0.05))
        assert caught.value.kind is Trouble.CONNECT_TIMEOUT
        assert pool.counts == Counts(0, 0, 0)


async def test_given_up_while_connecting_the_next_in_line_connects() -> None:
    with unanswering() as port:
        pool = Pool("127.0.0.1", port, limit=1)
        first = asyncio.ensure_future(fetch(pool))
        second = asyncio.ensure_future(fetch(pool))
        await until(lambda: pool.counts == Counts(open=1, idle=0, waiting=1))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert pool.counts == Counts(open=1, idle=0, waiting=0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert pool.counts == Counts(0, 0, 0)


@pytest.mark.parametrize("limit", [1, 2])
async def test_all_given_up_at_once_leave_nothing_behind(limit: int) -> None:
    gate = Gate()
    async with peer(gate) as it, pool_to(it, limit=limit) as pool:
        for turns in range(12):
            asking = [asyncio.ensure_future(fetch(pool)) for _ in range(5)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            assert pool.counts == Counts(0, 0, 0)


async def test_refused_names_no_address() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        pool = Pool("127.0.0.1", holder.getsockname()[1])
        with pytest.raises(Http1Error) as caught:
            await fetch(pool)
        assert caught.value.kind is Trouble.CONNECT
        assert str(caught.value) == "could not connect: connection refused"
        assert pool.counts == Counts(0, 0, 0)


async def test_no_descriptor_left_is_our_own_limit() -> None:
    async with peer(answering(OK)) as it, pool_to(it) as pool:
        with no_descriptors(), pytest.raises(Http1Error) as caught:
            await fetch(pool)
        assert caught.value.kind is Trouble.LOCAL
        assert await fetch(pool) == b"hello"


async def test_no_descriptor_left_for_the_resolver_is_our_own_limit() -> None:
    pool = Pool("localhost", 9)
    with no_descriptors(), pytest.raises(Http1Error) as caught:
        await fetch(pool)
    assert caught.value.kind is Trouble.LOCAL


async def test_what_is_idle_in_one_pool_gives_its_descriptor_to_another() -> None:
    async with peer(answering(OK)) as one, pool_to(one) as idle, peer(answering(OK)) as two:
        await fetch(idle)
        async with pool_to(two) as pool:
            with no_descriptors():
                assert await fetch(pool) == b"hello"
        assert idle.counts == Counts(0, 0, 0)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Every further descriptor is refused."""
    with socket.socket() as lowest:
        number = lowest.fileno()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_closing_ends_what_is_in_flight_and_in_the_queue() -> None:
    gate = Gate()
    async with peer(gate) as it, pool_to(it, limit=1) as pool:
        asking = [asyncio.ensure_future(fetch(pool)) for _ in range(3)]
        await until(lambda: gate.waiting == 1 and pool.counts.waiting == 2)
        await pool.aclose()
        for result in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(result, Http1Error)
            assert result.kind is Trouble.CLOSED
        with pytest.raises(Http1Error, match="closed"):
            await fetch(pool)


async def test_closing_while_connecting_closes_the_connection_too() -> None:
    async with peer(answering(OK)) as it, pool_to(it) as pool:
        asking = asyncio.ensure_future(fetch(pool))
        await until(lambda: pool.counts.open == 1)
        await pool.aclose()
        with pytest.raises(Http1Error):
            await asking


# --- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def trusting(authority: trustme.CA | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    return context


async def test_tls_verifies_sends_the_name_and_keeps_the_connection(authority: trustme.CA) -> None:
    async with (
        peer(answering(OK), certified(authority, "localhost")) as it,
        pool_to(it, host="localhost", tls=trusting(authority)) as pool,
    ):
        for _ in range(3):
            assert await fetch(pool) == b"hello"
        assert it.server_names == ["localhost"]
        assert it.accepted == 1


@pytest.mark.parametrize(
    ("name", "known"),
    [
        pytest.param("other.example", True, id="for another name"),
        pytest.param("localhost", False, id="by nobody known"),
    ],
)
async def test_tls_refuses_a_certificate(authority: trustme.CA, name: str, known: bool) -> None:
    tls = trusting(authority if known else None)
    async with (
        peer(answering(OK), certified(authority, name)) as it,
        pool_to(it, host="localhost", tls=tls) as pool,
    ):
        with pytest.raises(Http1Error) as caught:
            await fetch(pool)
        assert caught.value.kind is Trouble.CONNECT
        assert str(caught.value) == "could not connect: its certificate is not trusted"
        assert pool.counts == Counts(0, 0, 0)


async def test_tls_with_somebody_who_speaks_something_else(authority: trustme.CA) -> None:
    async def script(line: Line) -> None:
        await line.send(b"220 mail ready\r\n")
        await line.closed()

    async with peer(script) as it, pool_to(it, host="localhost", tls=trusting(authority)) as pool:
        with pytest.raises(Http1Error) as caught:
            await fetch(pool)
        assert caught.value.kind is Trouble.CONNECT


@pytest.mark.parametrize("cancel", [True, False], ids=["given up", "out of time"])
async def test_tls_that_never_answers(authority: trustme.CA, cancel: bool) -> None:
    async def script(line: Line) -> None:
        await line.closed()

    async with peer(script) as it, pool_to(it, host="localhost", tls=trusting(authority)) as pool:
        asking = asyncio.ensure_future(fetch(pool, Waits() if cancel else Waits(connect=0.1)))
        await until(lambda: it.accepted)
        if cancel:
            asking.cancel()
        result = (await asyncio.gather(asking, return_exceptions=True))[0]
        assert isinstance(result, asyncio.CancelledError if cancel else Http1Error)
        assert pool.counts == Counts(0, 0, 0)


async def test_tls_carries_large_bodies_both_ways_and_one_that_ends_with_the_connection(
    authority: trustme.CA,
) -> None:
    size = 3_000_000

    async def script(line: Line) -> None:
        request = await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\n\r\n", request.partition(b"\r\n\r\n")[2])
        line.close()

    async with (
        peer(script, certified(authority, "localhost")) as it,
        pool_to(it, host="localhost", tls=trusting(authority)) as pool,
    ):
        body = random.Random(1).randbytes(size)
        response = await pool.request(HEAD.replace(b": 2\r", b": %d\r" % size), body, Waits())
        assert await drain(response) == body
        assert pool.counts == Counts(0, 0, 0)
