"""Callers' connections over real sockets: what is refused, what is answered, who is let in, on both loops."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from proxy.server.door import SWEEP
from proxy.server.policy import LimitPolicy
from proxy.server.protocol import Protocol
from proxy.server.types import Message, Receive, Scope, Send
from tests.dispatch.peer import until

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENCE = 10.0
USUAL = LimitPolicy()


class World:
    """What the application saw, and how it answers."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.left = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.answer: Callable[[Scope, Receive, Send], Awaitable[None]] = self.echo
        self.state = ServerState()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await self.answer(scope, receive, send)

    async def echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The body back, once it is there and `go` is set."""
        body, message = b"", {"more_body": True}
        while message.get("more_body"):
            message = dict(await receive())
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            body += message["body"]
        self.bodies.append(body)
        await self.go.wait()
        await send(start(200, (b"content-length", b"%d" % len(body))))
        await send({"type": "http.response.body", "body": body})


def start(status: int, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


@asynccontextmanager
async def served(limits: LimitPolicy = USUAL, keep_alive: float = 60.0) -> AsyncIterator[tuple[World, int]]:
    world, loop = World(), asyncio.get_running_loop()
    config = Config(world.app, interface="asgi3", log_config=None)
    config.load()
    server = await loop.create_server(
        lambda: Protocol(config, world.state, {}, loop, limits=limits, keep_alive=keep_alive), "127.0.0.1", 0
    )
    try:
        yield world, server.sockets[0].getsockname()[1]
    finally:
        world.go.set()
        server.close()
        for connection in [*world.state.connections]:
            connection.transport.abort()
        for task in [*world.state.tasks]:
            task.cancel()
        await asyncio.gather(*world.state.tasks, return_exceptions=True)


class Line:
    """One caller."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def response(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """The next whole response that has a length, or chunks."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].split(b"\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in lines)
            if headers.get(b"transfer-encoding") == b"chunked":
                body = b""
                while size := int(await self.reader.readline(), 16):
                    body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            else:
                body = await self.reader.readexactly(int(headers.get(b"content-length", b"0")))
            return int(first.split()[1]), headers, body

    async def ended(self) -> bytes:
        """Whatever still comes, to the end of the line."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


# --- what is refused -----------------------------------------------------------------------------

HOST = b"Host: a\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
REFUSED = {
    "no HTTP at all": (b"nonsense\r\n\r\n", 400),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", 400),
    "a method that is none": (b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/3.7": (b"GET / HTTP/3.7\r\n" + HOST + b"\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "HTTP/2 without an agreement": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\n" + HOST + b"Host: b\r\n\r\n", 400),
    "the same Host twice": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "a target without a path": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a NUL in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400),
    "a NUL in a name": (b"GET / HTTP/1.1\r\n" + HOST + b"X\0: a\r\n\r\n", 400),
    "a lone CR in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", 400),
    "a folded line": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "a space before the colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n", 400),
    "a length that is none": (POST + b"Content-Length: x\r\n\r\n", 400),
    "a length below zero": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a length with a sign": (POST + b"Content-Length: +1\r\n\r\n", 400),
    "a length beyond all": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "two lengths": (
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400,
    ),
    "two lengths in one line": (POST + b"Content-Length: 1, 2\r\n\r\nab", 400),
    "a length beside chunks": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
    ),
    "chunks beside a length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400,
    ),
    "chunks that are not the last coding": (
        POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400,
    ),
    "a coding nobody knows": (
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501,
    ),
    "a head of two megabytes": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 2_000_000 + b"\r\n\r\n", 431),
    "twenty thousand headers": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 20_000 + b"\r\n", 431),
    "three hundred headers": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 300 + b"\r\n", 431),
    "a target of a megabyte": (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_refused_in_our_shape_and_the_line_is_closed(sent: bytes, status: int) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    async with served() as (world, port), calling(port) as line:
        await line.send(sent + smuggled)
        got, headers, body = await line.response()
        error = json.loads(body)["error"]
        assert (got, headers[b"connection"]) == (status, b"close")
        assert set(error) == {"message", "type", "param", "code"}
        assert await line.ended() == b""
        assert world.scopes == []
        async with calling(port) as next_one:
            await next_one.send(GET)
            assert (await next_one.response())[0] == 200


async def test_a_body_that_breaks_off_in_nonsense_is_refused_and_never_handed_on() -> None:
    async with served() as (world, port), calling(port) as line:
        await line.send(
            b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n"
        )
        assert (await line.response())[0] == 400
        await line.ended()
        async with asyncio.timeout(PATIENCE):
            await world.left.wait()
        assert world.bodies == []


async def test_nonsense_behind_a_request_does_not_spoil_its_answer() -> None:
    async with served() as (world, port), calling(port) as line:
        world.go.clear()
        await line.send(GET + b"nonsense\r\n\r\n")
        await until(lambda: bool(world.bodies))
        world.go.set()
        status, headers, _ = await line.response()
        assert (status, headers.get(b"connection")) == (200, b"close")
        assert await line.ended() == b""
        assert len(world.scopes) == 1


# --- what is answered ----------------------------------------------------------------------------


async def test_the_scope_says_what_was_asked() -> None:
    async with served() as (world, port), calling(port) as line:
        await line.send(b"POST /v1/%61?q=1 HTTP/1.1\r\nHost: a\r\nX-A: B\r\ncontent-length: 2\r\n\r\nhi")
        assert (await line.response())[2] == b"hi"
    scope = world.scopes[0]
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("POST", "/v1/a", b"/v1/%61")
    assert (scope["query_string"], scope["http_version"], scope["scheme"]) == (b"q=1", "1.1", "http")
    assert scope["headers"] == [(b"host", b"a"), (b"x-a", b"B"), (b"content-length", b"2")]
    assert scope["client"][0] == scope["server"][0] == "127.0.0.1"


@pytest.mark.parametrize("split", [1, 7, 16, 40, 60])
async def test_a_request_may_come_in_pieces(split: int) -> None:
    whole = POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    async with served() as (world, port), calling(port) as line:
        for at in range(0, len(whole), split):
            await line.send(whole[at : at + split])
            await asyncio.sleep(0)
        assert (await line.response())[2] == b"abcde"
        assert world.bodies == [b"abcde"]


async def test_a_line_is_kept_and_requests_may_queue_on_it() -> None:
    async with served() as (world, port), calling(port) as line:
        for _ in range(3):
            await line.send(GET)
            assert (await line.response())[0] == 200
        await line.send(
            b"".join(
                b"POST /%d HTTP/1.1\r\nHost: a\r\ncontent-length: 1\r\n\r\n%d" % (n, n) for n in range(5)
            )
        )
        assert [(await line.response())[2] for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert [scope["path"] for scope in world.scopes[3:]] == [f"/{n}" for n in range(5)]


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", False),
    ],
    ids=["the caller wants no more", "HTTP/1.0", "an upgrade that is not made", "keep-alive"],
)
async def test_a_line_is_closed_when(head: bytes, closes: bool) -> None:
    async with served() as (_, port), calling(port) as line:
        await line.send(head)
        status, headers, _ = await line.response()
        assert (status, headers.get(b"connection")) == (200, b"close" if closes else None)
        if closes:
            assert await line.ended() == b""


async def test_expect_100_continue() -> None:
    async with served() as (_, port), calling(port) as line:
        await line.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await line.response())[0] == 100
        await line.send(b"hi")
        assert (await line.response())[2] == b"hi"


async def test_an_answer_without_a_length_is_chunked_and_head_has_no_body() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200))
        for piece in (b"one", b"", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with served() as (world, port), calling(port) as line:
        world.answer = answer
        await line.send(GET)
        status, headers, body = await line.response()
        assert (status, headers, body) == (200, {b"transfer-encoding": b"chunked"}, b"onetwo")
        await line.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await line.response())[2] == b""
        await line.send(GET)
        assert (await line.response())[2] == b"onetwo"


async def test_http_1_0_gets_no_chunks_and_the_end_of_the_line_for_an_end() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200))
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async with served() as (world, port), calling(port) as line:
        world.answer = answer
        await line.send(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await line.ended()).partition(b"\r\n\r\n")
        assert body == b"onetwo"
        assert b"chunked" not in head
        assert b"connection: close" in head


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    raise KeyError("x")


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    return


async def broken_header(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(200, (b"x-a", b"b\r\nset-cookie: c")))
    await send({"type": "http.response.body", "body": b""})


async def raising_before_the_body(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(200))
    raise KeyError("x")


@pytest.mark.parametrize("answer", [raising, silent, broken_header, raising_before_the_body])
async def test_an_application_that_fails_is_a_500_in_our_shape(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with served() as (world, port), calling(port) as line:
        world.answer = answer
        await line.send(GET)
        status, headers, body = await line.response()
        assert (status, json.loads(body)["error"]["code"]) == (500, "internal_error")
        assert b"set-cookie" not in headers
    assert "failed outside of its own error handling" in caplog.text


async def test_one_that_is_ended_with_the_process_is_a_503_that_may_be_tried_again() -> None:
    async with served() as (world, port), calling(port) as line:
        asked = asyncio.Event()

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            asked.set()
            await asyncio.Event().wait()

        world.answer = answer
        await line.send(GET)
        await asked.wait()
        for task in [*world.state.tasks]:
            task.cancel()
        status, headers, body = await line.response()
        assert (status, json.loads(body)["error"]["code"]) == (503, "proxy_stopping")
        assert (headers[b"retry-after"], headers[b"connection"]) == (b"1", b"close")


async def test_one_that_fails_in_the_middle_never_ends_cleanly(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200))
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("x")

    async with served() as (world, port), calling(port) as line:
        world.answer = answer
        await line.send(GET)
        assert not (await line.ended()).endswith(b"0\r\n\r\n")
    assert "KeyError" in caplog.text


async def test_a_refusal_can_be_read_though_the_body_was_not() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(413, (b"content-length", b"2"), (b"connection", b"close")))
        await send({"type": "http.response.body", "body": b"no"})

    async with served() as (world, port), calling(port) as line:
        world.answer = answer
        line.writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 3_000_000
        )
        assert (await line.response())[0::2] == (413, b"no")


# --- leaving and flow ----------------------------------------------------------------------------


async def test_a_caller_that_leaves_is_noticed_while_it_is_waited_for() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        world.left.set()
        await send(start(200))  # says nothing to the gone
        await send({"type": "http.response.body", "body": b"x"})

    async with served() as (world, port):
        world.answer = answer
        async with calling(port) as line:
            await line.send(GET)
        async with asyncio.timeout(PATIENCE):
            await world.left.wait()


async def test_a_slow_reader_holds_the_writer_back() -> None:
    written = 0

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal written
        await send(start(200, (b"content-length", b"%d" % (64 << 20))))
        for _ in range(1024):
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            written += 65536
        await send({"type": "http.response.body", "body": b""})

    async with served() as (world, port), calling(port) as line:
        world.answer = answer
        transport = line.writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]
        await line.send(GET)
        before = -1
        async with asyncio.timeout(PATIENCE):
            while written != before or not written:  # until the kernel's buffers are full, too
                before = written
                await asyncio.sleep(0.05)
        assert written < 48 << 20
        transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await line.response())[2]) == 64 << 20


async def test_a_large_body_is_read_only_as_it_is_wanted() -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await world.go.wait()
        await world.echo(scope, receive, send)

    async with served() as (world, port), calling(port) as line:
        world.answer = answer
        world.go.clear()
        body = bytes(32 << 20)
        line.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        left, before = line.writer.transport.get_write_buffer_size(), -1
        async with asyncio.timeout(PATIENCE):
            while left != before:
                before = left
                await asyncio.sleep(0.1)
                left = line.writer.transport.get_write_buffer_size()
        assert left > 8 << 20
        world.go.set()
        assert len((await line.response())[2]) == len(body)


# --- the door ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "told"),
    [(b"", b""), (b"GET / HT", b"408"), (GET + b"GET / HTTP/1.1\r\nHos", b"200 OK.*408")],
    ids=["nothing", "half a head", "half a head after a request"],
)
async def test_a_head_that_does_not_come_is_waited_for_so_long(sent: bytes, told: bytes) -> None:
    async with served(LimitPolicy(head_timeout=0.1)) as (_, port), calling(port) as line:
        await line.send(sent)
        got = await line.ended()
        assert re.search(told, got, re.DOTALL) if told else got == b""


async def test_an_idle_line_is_kept_for_so_long() -> None:
    async with served(keep_alive=0.1) as (_, port), calling(port) as line:
        await line.send(GET)
        assert (await line.response())[0] == 200
        assert await line.ended() == b""


async def test_a_request_that_is_being_answered_is_nobody_elses_business() -> None:
    async with (
        served(LimitPolicy(head_timeout=0.05), keep_alive=0.05) as (world, port),
        calling(port) as line,
    ):
        world.go.clear()
        await line.send(GET)
        await asyncio.sleep(3 * SWEEP)  # The door has looked, more than once.
        world.go.set()
        assert (await line.response())[0] == 200


async def test_who_waits_longest_makes_room_for_the_next() -> None:
    async with (
        served(LimitPolicy(max_connections=3)) as (_, port),
        calling(port) as first,
        calling(port) as second,
        calling(port) as third,
    ):
        for line in (second, third):
            await line.send(GET)
            await line.response()
        async with calling(port) as fourth:
            await fourth.send(GET)
            assert (await fourth.response())[0] == 200
            assert await first.ended() == b""
            await third.send(GET)
            assert (await third.response())[0] == 200


async def test_a_house_full_of_calls_refuses_the_next_and_recovers() -> None:
    async with served(LimitPolicy(max_connections=1)) as (world, port), calling(port) as busy:
        world.go.clear()
        await busy.send(GET)
        await until(lambda: bool(world.bodies))
        async with calling(port) as late:
            status, _, body = await late.response()
            assert (status, json.loads(body)["error"]["code"]) == (503, "proxy_overloaded")
        world.go.set()
        assert (await busy.response())[0] == 200
        async with calling(port) as later:
            await later.send(GET)
            assert (await later.response())[0] == 200


async def test_a_stop_closes_the_idle_and_lets_the_others_finish() -> None:
    async with served() as (world, port), calling(port) as idle, calling(port) as busy:
        await idle.send(GET)
        await idle.response()
        world.go.clear()
        await busy.send(GET)
        await until(lambda: len(world.bodies) == 2)
        for connection in [*world.state.connections]:
            connection.shutdown()
        assert await idle.ended() == b""
        world.go.set()
        status, headers, _ = await busy.response()
        assert (status, headers[b"connection"]) == (200, b"close")
        assert await busy.ended() == b""
    assert not world.state.tasks


async def test_every_line_leaves_the_servers_books() -> None:
    async with served() as (world, port):
        for data in (GET, b"", b"nonsense\r\n\r\n", b"GET / HT"):
            async with calling(port) as line:
                await line.send(data)
        with socket.create_connection(("127.0.0.1", port)) as reset:
            reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await until(lambda: not world.state.connections and not world.state.tasks)


async def test_a_line_that_has_ended_leaves_nothing_for_the_collector() -> None:
    async with served() as (world, port):
        gc.collect()
        gc.disable()
        try:
            for answered in (True, False):
                async with calling(port) as line:
                    (world.go.set if answered else world.go.clear)()
                    await line.send(GET)
                    if answered:
                        await line.response()
                    else:
                        await until(lambda: len(world.bodies) == 2)
                await until(lambda: not world.state.connections)
                world.go.set()
                await until(lambda: not world.state.tasks)
            await until(lambda: not any(type(one) is Protocol for one in gc.get_objects()))
        finally:
            gc.enable()
