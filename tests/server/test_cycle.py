"""A route that answers its connection directly, over real sockets, on both loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from proxy.server.cycle import CYCLE, Cycle, fields
from proxy.server.protocol import Protocol
from proxy.server.types import Receive, Scope, Send
from tests.dispatch.peer import until

PATIENCE = 10.0
PLAIN = fields([(b"content-type", b"text/plain")])
Answers = Callable[[Cycle], Awaitable[None]]


class Direct:
    """An application with one direct route; whatever comes by ASGI is remembered, and answered by it, too."""

    def __init__(self, answer: Answers) -> None:
        self.direct = {(b"POST", b"/hot"): answer}
        self.by_asgi: list[str] = []
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.by_asgi.append(scope["path"])
        await self._answer(scope["extensions"][CYCLE])


@asynccontextmanager
async def serving(app: Direct) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Any]]:
    """One caller's connection to a server with this application, and the server's state."""
    loop, state = asyncio.get_running_loop(), ServerState()
    config = Config(app, interface="asgi3", log_config=None, proxy_headers=False)
    config.load()
    server = await loop.create_server(lambda: Protocol(config, state, {}, loop), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        async with asyncio.timeout(PATIENCE):
            yield reader, writer, state
    finally:
        writer.close()
        server.close()
        for connection in [*state.connections]:
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)


def post(target: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"POST %b HTTP/%b\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    return head % (target, version, len(body)) + body


async def echo(cycle: Cycle) -> None:
    """The body, if it was there already."""
    body = cycle.whole()
    while body is None and not cycle.disconnected:
        message = await cycle.receive()
        body = None if message.get("more_body") else b"in pieces"
    await cycle.answer(200, PLAIN, body or b"")


async def stream(cycle: Cycle) -> None:
    cycle.start(200, PLAIN)
    assert not cycle.write_now(b"no head yet")
    await cycle.write(b"one")
    assert cycle.write_now(b"two")
    await cycle.write(b"", more=False)


@pytest.mark.parametrize(
    ("target", "by_asgi"),
    [
        pytest.param(b"/hot", [], id="the very target is answered directly"),
        pytest.param(b"/hot?a=b", ["/hot"], id="one with a query comes by ASGI"),
        pytest.param(b"/h%6ft", ["/hot"], id="another spelling comes by ASGI"),
    ],
)
async def test_who_is_asked(target: bytes, by_asgi: list[str]) -> None:
    app = Direct(echo)
    async with serving(app) as (reader, writer, _):
        writer.write(post(target, b"hello"))
        assert await reader.readuntil(b"hello") == (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
        )
    assert app.by_asgi == by_asgi


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param(b"X: 1\r\n", b"X: 1\r\n", True, id="the same lines, though the lengths differ"),
        pytest.param(b"X: 1\r\n", b"X: 2\r\n", False, id="another value"),
        pytest.param(b"X: 1\r\n", b"x: 1\r\n", False, id="another spelling"),
        pytest.param(b"X: 1\r\n", b"", False, id="a line less"),
        pytest.param(b"", b"X: 1\r\n", False, id="a line more"),
        pytest.param(b"X: 1\r\nY: 2\r\n", b"Y: 2\r\nX: 1\r\n", False, id="another order"),
    ],
)
async def test_a_head_is_read_once_for_as_long_as_it_is_the_same(
    first: bytes, second: bytes, same: bool
) -> None:
    cycles: list[Cycle] = []

    async def keep(cycle: Cycle) -> None:
        cycles.append(cycle)
        await echo(cycle)

    async with serving(Direct(keep)) as (reader, writer, _):
        for lines, body in ((first, b"hello"), (second, b"hello, you")):
            writer.write(post(b"/hot", body).replace(b"Host: a\r\n", b"Host: a\r\n" + lines))
            await reader.readuntil(b"\r\n\r\n" + body)
    one, two = cycles
    assert (one.head is two.head) is same
    assert (one.length, two.length) == (b"5", b"10")
    assert two.head.pairs(None) == [(b"host", b"a"), *[(n.lower(), v) for n, v in two.head.lines[1:]]]
    assert b"".join([b"%b: %b\r\n" % line for line in two.head.lines[1:]]) == second


async def test_a_body_that_comes_in_pieces_is_not_whole() -> None:
    async with serving(Direct(echo)) as (reader, writer, state):
        writer.write(post(b"/hot", b"hello")[:-2])
        await until(lambda: bool(state.tasks))
        await asyncio.sleep(0)
        writer.write(b"lo")
        assert (await reader.readuntil(b"in pieces")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_stream_is_chunked_and_the_line_is_kept() -> None:
    async with serving(Direct(stream)) as (reader, writer, _):
        for _ in range(2):
            writer.write(post(b"/hot"))
            assert await reader.readuntil(b"0\r\n\r\n") == (
                b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
                b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
            )


async def test_a_caller_of_http_1_0_gets_no_chunks_and_the_end_of_the_line() -> None:
    async with serving(Direct(stream)) as (reader, writer, _):
        writer.write(post(b"/hot", version=b"1.0"))
        assert await reader.read() == (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nonetwo"
        )


async def test_an_answer_may_be_the_last_of_its_line() -> None:
    async def last(cycle: Cycle) -> None:
        cycle.keep_alive = False
        await cycle.answer(503, b"", b"enough")

    async with serving(Direct(last)) as (reader, writer, _):
        writer.write(post(b"/hot"))
        assert await reader.read() == (
            b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 6\r\n\r\nenough"
        )


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "no longer watched"])
async def test_a_caller_that_leaves_cancels_whoever_watches(watched: bool) -> None:
    cycles: list[Cycle] = []
    ended, go = asyncio.Event(), asyncio.Event()

    async def wait(cycle: Cycle) -> None:
        task = asyncio.current_task()
        assert task is not None
        cycle.watch(task)
        if not watched:
            cycle.unwatch()
        cycles.append(cycle)
        try:
            await go.wait()
        except asyncio.CancelledError:
            assert cycle.left
        ended.set()

    async with serving(Direct(wait)) as (_, writer, _):
        writer.write(post(b"/hot"))
        await until(lambda: bool(cycles))
        writer.close()
        await until(lambda: cycles[0].disconnected)
        if not watched:
            go.set()
        await ended.wait()
    assert cycles[0].left is watched


async def test_who_left_before_the_watch_is_noticed_by_it() -> None:
    left: list[bool] = []

    async def late(cycle: Cycle) -> None:
        while not cycle.disconnected:
            await cycle.receive()
        assert cycle.whole() is None
        task = asyncio.current_task()
        assert task is not None
        cycle.watch(task)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            left.append(cycle.left)

    async with serving(Direct(late)) as (_, writer, _):
        writer.write(post(b"/hot"))
        await writer.drain()
        writer.close()
        await until(lambda: bool(left))
    assert left == [True]


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b"])
def test_a_field_that_would_be_two_is_refused(value: bytes) -> None:
    with pytest.raises(RuntimeError, match="line break or NUL"):
        fields([(b"x", b"y"), (b"name", value)])
