"""What every transport must do alike, what only ours can, and the pool as a transport of httpx."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from proxy.dispatch.httpx_transport import EXCEPTIONS, BodyStream, HTTP1Transport
from proxy.dispatch.pool import Counts
from proxy.dispatch.reply import Fields
from proxy.dispatch.stock import open_stock
from proxy.dispatch.tls import tls_context
from proxy.dispatch.transport import open_upstream
from proxy.dispatch.trouble import FAILURES, Http1Error, Trouble
from proxy.dispatch.upstream import Upstream, compose
from proxy.errors import UpstreamError
from proxy.types import FailureKind, Provider, Timeouts, UpstreamRequest
from tests.dispatch.peer import Line, Peer, Script, answering, once, peer, unanswering, until

ASK = UpstreamRequest("/chat/completions", ((b"content-type", b"application/json"),), b'{"a":1}')
# Both ends are in this process: when it stands still, on a busy machine, that counts as the peer's silence.
PATIENT = Timeouts(connect=60, first_token=60, idle=60, total=60)
HASTY = Timeouts(connect=0.1, first_token=0.1, idle=0.1, total=5)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
PACKED = gzip.compress(b"hello")


def packed(body: bytes, coding: bytes = b"gzip") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        coding,
        len(body),
        body,
    )


both = pytest.mark.parametrize("transport", ["http1", "httpx"])


@asynccontextmanager
async def upstream_to(it: Peer, transport: str = "http1", **options: Any) -> AsyncIterator[Upstream]:
    options = {"base_url": f"{it.base}/v1", "transport": transport, **options}
    upstream = open_upstream(Provider("test", "openai", **options))
    try:
        yield upstream
    finally:
        await upstream.aclose()


async def ask(upstream: Upstream, timeouts: Timeouts = PATIENT, **options: Any) -> tuple[int, bytes]:
    reply = await upstream.send(ASK, timeouts, **options)
    try:
        return reply.status, await reply.read(1000)
    finally:
        reply.abort()


async def failed(upstream: Upstream, timeouts: Timeouts = PATIENT, **options: Any) -> FailureKind:
    with pytest.raises(UpstreamError) as caught:
        await ask(upstream, timeouts, **options)
    failure = caught.value.failure
    assert len(failure.message) <= 200
    assert "127.0.0.1" not in failure.message
    assert "\n" not in failure.message
    return failure.kind


# --- conformance: both transports ------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("data", "status", "body"),
    [
        pytest.param(OK, 200, b"hello", id="a body of known length"),
        pytest.param(CHUNKED, 200, b"hello", id="a chunked body"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"hello", id="an interim response before it"
        ),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="no body"),
        pytest.param(
            b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 302, b"", id="a redirect"
        ),
        pytest.param(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", 500, b"no", id="an error"),
        pytest.param(packed(PACKED), 200, b"hello", id="a packed body though none was asked for"),
    ],
)
async def test_gives_status_and_body_and_keeps_the_connection(
    transport: str, data: bytes, status: int, body: bytes
) -> None:
    async with peer(answering(data)) as it, upstream_to(it, transport) as upstream:
        for _ in range(3):
            assert await ask(upstream) == (status, body)
        assert it.accepted == 1


@both
async def test_a_body_may_end_with_the_connection(transport: str) -> None:
    async with (
        peer(once(b"HTTP/1.1 200 OK\r\n\r\nhello", then=Line.close)) as it,
        upstream_to(it, transport) as upstream,
    ):
        assert await ask(upstream) == (200, b"hello")


@both
async def test_what_the_upstream_sees(transport: str) -> None:
    seen: list[bytes] = []

    async def script(line: Line) -> None:
        seen.append(await line.request())
        await line.send(OK)
        await line.closed()

    async with peer(script) as it, upstream_to(it, transport) as upstream:
        await ask(upstream, headers=((b"traceparent", b"00-ab"),))
        head, _, body = seen[0].partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        assert first == b"POST /v1/chat/completions HTTP/1.1"
        assert body == ASK.body
        assert sorted(line.lower() for line in lines) == [
            b"accept-encoding: identity",
            b"content-length: 7",
            b"content-type: application/json",
            b"host: 127.0.0.1:%d" % it.port,
            b"traceparent: 00-ab",
        ]


@both
async def test_chunks_come_as_they_are_sent(transport: str) -> None:
    go = asyncio.Event()

    async def script(line: Line) -> None:
        await line.request()
        await line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await go.wait()
        await line.send(b"3\r\ntwo\r\n0\r\n\r\n")
        await line.closed()

    async with peer(script) as it, upstream_to(it, transport) as upstream:
        reply = await upstream.send(ASK, PATIENT)
        got = []
        while data := await reply.take():
            got.append(data)
            go.set()
        assert got == [b"one", b"two"]
        reply.abort()
        reply.abort()


@both
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param(once(b"nonsense\r\n\r\n"), FailureKind.BAD_RESPONSE, id="not HTTP"),
        pytest.param(once(OK[:-1], then=Line.close), FailureKind.BAD_RESPONSE, id="a body that is cut off"),
        pytest.param(
            once(CHUNKED[:-2], then=Line.close), FailureKind.BAD_RESPONSE, id="chunks that are cut off"
        ),
        pytest.param(once(OK[:-1], then=Line.reset), FailureKind.BAD_RESPONSE, id="a reset in the body"),
        pytest.param(answering(packed(b"not gzip")), FailureKind.BAD_RESPONSE, id="bad gzip"),
        pytest.param(answering(packed(PACKED[:-2])), FailureKind.BAD_RESPONSE, id="gzip that is cut off"),
        pytest.param(answering(packed(b"x", b"br")), FailureKind.BAD_RESPONSE, id="an unknown coding"),
        pytest.param(
            answering(packed(gzip.compress(bytes(9**7)))), FailureKind.BAD_RESPONSE, id="a gzip bomb"
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000),
            FailureKind.BAD_RESPONSE,
            id="a body that is too long",
        ),
        pytest.param(once(then=Line.reset), FailureKind.DISCONNECTED, id="a reset without a byte"),
    ],
)
async def test_fails_as(transport: str, script: Script, kind: FailureKind) -> None:
    async with peer(script) as it, upstream_to(it, transport) as upstream:
        assert await failed(upstream) is kind
        await until(lambda: upstream.connections.open == upstream.connections.idle)


@both
async def test_a_status_can_be_had_of_a_body_that_cannot(transport: str) -> None:
    data = packed(b"x", b"br").replace(b"200 OK", b"429 Slow")
    async with peer(answering(data)) as it, upstream_to(it, transport) as upstream:
        reply = await upstream.send(ASK, PATIENT)
        assert reply.status == 429
        reply.abort()


@both
async def test_a_kept_connection_that_was_closed_is_stale_and_a_fresh_one_serves(transport: str) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(OK)
        if line.number == 1:
            await line.request()
        else:
            await line.closed()

    async with peer(script) as it, upstream_to(it, transport) as upstream:
        await ask(upstream)
        assert await failed(upstream) is FailureKind.STALE_CONNECTION
        assert await ask(upstream, fresh=True) == (200, b"hello")
        assert it.accepted == 2


@both
async def test_fresh_is_a_new_connection_every_time(transport: str) -> None:
    async with peer(answering(OK)) as it, upstream_to(it, transport) as upstream:
        await ask(upstream)
        await ask(upstream, fresh=True)
        assert it.accepted == 2


@both
async def test_refused(transport: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        it = Peer()
        it.port = holder.getsockname()[1]
        async with upstream_to(it, transport) as upstream:
            assert await failed(upstream) is FailureKind.CONNECT


@both
async def test_connecting_that_never_ends(transport: str) -> None:
    with unanswering() as port:
        it = Peer()
        it.port = port
        async with upstream_to(it, transport) as upstream:
            assert await failed(upstream, HASTY) is FailureKind.CONNECT_TIMEOUT


async def silent(line: Line) -> None:
    await line.request()
    await line.closed()


@both
@pytest.mark.parametrize("script", [silent, once(OK[:-1])], ids=["before the head", "in the body"])
async def test_silence_is_an_idle_timeout(transport: str, script: Script) -> None:
    async with peer(script) as it, upstream_to(it, transport) as upstream:
        assert await failed(upstream, HASTY) is FailureKind.IDLE_TIMEOUT


@both
async def test_the_head_may_take_as_long_as_the_first_token(transport: str) -> None:
    go = asyncio.Event()

    async def script(line: Line) -> None:
        await line.request()
        await go.wait()
        await line.send(OK[:-1])
        await line.closed()

    timeouts = Timeouts(connect=5, first_token=5, idle=0.05, total=5)
    async with peer(script) as it, upstream_to(it, transport) as upstream:
        asking = asyncio.ensure_future(failed(upstream, timeouts))
        await until(lambda: it.accepted)
        await asyncio.sleep(0.2)  # four times the idle limit, which isn't the head's
        assert not asking.done()
        go.set()
        assert await asking is FailureKind.IDLE_TIMEOUT


@both
async def test_the_limit_of_connections_is_ours_and_not_the_upstreams_fault(transport: str) -> None:
    async with peer(silent) as it, upstream_to(it, transport, max_connections=1) as upstream:
        first = asyncio.ensure_future(ask(upstream))
        await until(lambda: it.accepted)
        assert await failed(upstream, HASTY) is FailureKind.LOCAL_LIMIT
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


@both
@pytest.mark.parametrize("script", [silent, once(OK[:-1])], ids=["before the head", "in the body"])
async def test_given_up_the_upstream_sees_the_end(transport: str, script: Script) -> None:
    ended = asyncio.Event()

    async def watched(line: Line) -> None:
        await script(line)
        ended.set()

    async with peer(watched) as it, upstream_to(it, transport) as upstream:
        asking = asyncio.ensure_future(ask(upstream))
        await until(lambda: it.accepted)
        for _ in range(50):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(5):
            await ended.wait()
        await until(lambda: upstream.connections == Counts(0, 0, 0))


@both
async def test_a_reply_that_is_aborted_closes_its_connection(transport: str) -> None:
    async with peer(once(OK[:-1])) as it, upstream_to(it, transport) as upstream:
        reply = await upstream.send(ASK, PATIENT)
        reply.abort()
        reply.abort()
        reply.abort()
        await until(lambda: upstream.connections == Counts(0, 0, 0))


@both
async def test_given_up_at_any_step_it_costs_no_place(transport: str) -> None:
    async with peer(answering(OK)) as it, upstream_to(it, transport, max_connections=2) as upstream:
        for steps in range(60):
            asking = [asyncio.ensure_future(ask(upstream, fresh=not steps % 3)) for _ in range(4)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        assert await asyncio.gather(ask(upstream), ask(upstream)) == [(200, b"hello")] * 2


@both
async def test_a_header_with_a_line_break_is_not_sent(transport: str) -> None:
    async with peer(answering(OK)) as it, upstream_to(it, transport) as upstream:
        for value in (b"a\r\nx: y", b"a\nx: y", b"a\0b"):
            assert await failed(upstream, headers=((b"x-a", value),)) is FailureKind.BAD_REQUEST


@both
async def test_headers_are_found_by_their_lower_case_name(transport: str) -> None:
    data = b"HTTP/1.1 200 OK\r\nRetry-After: 7\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
    async with peer(answering(data)) as it, upstream_to(it, transport) as upstream:
        reply = await upstream.send(ASK, PATIENT)
        assert dict(reply.headers) == {"retry-after": "7", "x-a": "1, 2", "content-length": "0"}
        assert reply.headers.get("absent") is None
        assert len(reply.headers) == 3
        reply.abort()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@both
async def test_tls_by_a_bundle(transport: str, authority: trustme.CA, tmp_path: Path) -> None:
    bundle = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(bundle)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    async with peer(answering(OK), server) as it:
        options: dict[str, Any] = {"base_url": f"https://localhost:{it.port}/v1"}
        async with upstream_to(it, transport, verify=bundle, **options) as upstream:
            assert await ask(upstream) == (200, b"hello")
            assert it.server_names == ["localhost"]
        async with upstream_to(it, transport, **options) as upstream:
            assert await failed(upstream) is FailureKind.CONNECT
        async with upstream_to(it, transport, verify=False, **options) as upstream:
            assert await ask(upstream) == (200, b"hello")


# --- only ours -------------------------------------------------------------------------------------


async def test_a_new_connection_that_closes_without_a_byte_is_disconnected() -> None:
    async with peer(once(then=Line.close)) as it, upstream_to(it) as upstream:
        assert await failed(upstream) is FailureKind.DISCONNECTED


async def test_a_head_that_is_cut_off_is_a_bad_response() -> None:
    async with peer(once(OK[:20], then=Line.close)) as it, upstream_to(it) as upstream:
        assert await failed(upstream) is FailureKind.BAD_RESPONSE


async def test_a_request_that_is_not_taken_is_an_idle_timeout() -> None:
    async def deaf(line: Line) -> None:
        await line.head()
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with peer(deaf) as it, upstream_to(it) as upstream:
        timeouts = Timeouts(connect=5, first_token=5, idle=0.1, total=5)
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(UpstreamRequest("/x", (), b"z" * 30_000_000), timeouts)
        assert caught.value.failure.kind is FailureKind.IDLE_TIMEOUT


async def test_everything_that_has_come_is_one_chunk() -> None:
    async with peer(once(CHUNKED)) as it, upstream_to(it) as upstream:
        reply = await upstream.send(ASK, PATIENT)
        await until(lambda: upstream.connections.idle == 1)
        assert [await reply.take(), await reply.take()] == [b"hello", b""]


async def test_stock_closes_what_has_been_idle_and_opens_another() -> None:
    closed = asyncio.Event()

    async def watched(line: Line) -> None:
        await answering(OK)(line)
        closed.set()

    async with peer(watched) as it:
        wire = open_stock(Provider("test", "openai", f"{it.base}/v1"), keep_alive=0.05)
        upstream = Upstream(wire, b"/v1", b"")
        assert await ask(upstream) == await ask(upstream) == (200, b"hello")
        assert it.accepted == 1 and not closed.is_set()
        async with asyncio.timeout(5):
            await closed.wait()
        assert await ask(upstream) == (200, b"hello") and it.accepted == 2
        await upstream.aclose()


async def test_connections_are_counted() -> None:
    async with peer(silent) as it, upstream_to(it, max_connections=1) as upstream:
        asking = [asyncio.ensure_future(ask(upstream)) for _ in range(3)]
        await until(lambda: upstream.connections == Counts(open=1, idle=0, waiting=2))
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert upstream.connections == Counts(0, 0, 0)


@pytest.mark.parametrize(
    ("base", "target"),
    [
        pytest.param("", b"/chat/completions", id="no path"),
        pytest.param("/", b"/chat/completions", id="a slash"),
        pytest.param("/openai/v1/", b"/openai/v1/chat/completions", id="a path that ends with a slash"),
        pytest.param("/d?api-version=1", b"/d/chat/completions?api-version=1", id="a query"),
    ],
)
async def test_the_path_is_appended_to_the_base_url(base: str, target: bytes) -> None:
    seen: list[bytes] = []

    async def script(line: Line) -> None:
        seen.append((await line.request()).split(b" ")[1])
        await line.send(OK)

    async with peer(script) as it, upstream_to(it, base_url=it.base + base) as upstream:
        await ask(upstream)
        assert seen == [target]


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "host/x", "http://", "http://[::1", "http://a b/", "http://x:99999"]
)
def test_an_impossible_base_url_names_its_provider(url: str) -> None:
    with pytest.raises(ValueError, match=r"providers\.groq\.base_url: "):
        open_upstream(Provider("groq", "openai", url))


@pytest.mark.parametrize("target", [b"/a b", b"/a\r\nx: y"])
def test_a_target_that_is_more_than_a_target_is_refused(target: bytes) -> None:
    with pytest.raises(Http1Error):
        compose(b"POST", target, (), 0)


def test_every_trouble_has_a_meaning_for_both_sides() -> None:
    assert set(FAILURES) == set(EXCEPTIONS) == set(Trouble)


def test_fields_are_a_mapping() -> None:
    fields = Fields([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert list(fields) == ["a", "b"]
    assert "c" not in fields
    assert fields == {"a": "1, 3", "b": "2"}
    assert fields.get("\N{SNOWMAN}") is None


def test_tls_contexts_offer_http1_only_and_the_usual_one_is_shared() -> None:
    assert tls_context() is tls_context(True)
    assert tls_context(False) is not tls_context(False)
    assert tls_context(False).verify_mode is ssl.CERT_NONE


# --- the pool as a transport of httpx --------------------------------------------------------------


@pytest.fixture(params=[HTTP1Transport, httpx.AsyncHTTPTransport], ids=["ours", "stock"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=request.param(), timeout=5) as client:
        yield client


async def test_a_client_gets_its_answer(client: httpx.AsyncClient) -> None:
    async with peer(answering(packed(PACKED))) as it:
        for _ in range(3):
            response = await client.post(it.base, json={"a": 1})
            assert (response.status_code, response.text) == (200, "hello")
            assert response.request.url == it.base
        assert (await client.get(it.base.replace("127.0.0.1", "localhost"))).text == "hello"
        assert it.accepted == 2


async def test_a_client_streams_both_ways(client: httpx.AsyncClient) -> None:
    async def echo(line: Line) -> None:
        while head := await line.head():
            assert b"x-a: 1" in head.lower()
            await line.send(CHUNKED)

    async def body() -> AsyncIterator[bytes]:
        yield b""

    async with peer(echo) as it:
        headers = {"x-a": "1", "content-length": "0"}
        async with client.stream("POST", it.base, content=body(), headers=headers) as response:
            assert b"".join([part async for part in response.aiter_raw()]) == b"hello"


@pytest.mark.parametrize(
    ("script", "errors"),
    [
        pytest.param(once(b"nonsense\r\n\r\n"), httpx.RemoteProtocolError, id="not HTTP"),
        pytest.param(once(then=Line.close), httpx.RemoteProtocolError, id="closed without a byte"),
        pytest.param(once(OK[:-1], then=Line.close), httpx.RemoteProtocolError, id="cut off"),
        pytest.param(once(OK[:-1], then=Line.reset), httpx.ReadError, id="reset in the body"),
        pytest.param(silent, httpx.ReadTimeout, id="silent"),
        pytest.param(once(OK[:-1]), httpx.ReadTimeout, id="silent in the body"),
    ],
)
async def test_a_client_gets_httpxs_exceptions(
    client: httpx.AsyncClient, script: Script, errors: type[Exception]
) -> None:
    async with peer(script) as it:
        with pytest.raises(errors):
            await client.post(it.base, timeout=httpx.Timeout(5, read=0.1))


async def test_a_client_is_refused_and_runs_out_of_time_connecting(client: httpx.AsyncClient) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        with pytest.raises(httpx.ConnectError):
            await client.post(f"http://127.0.0.1:{holder.getsockname()[1]}")
    with unanswering() as port, pytest.raises(httpx.ConnectTimeout):
        await client.post(f"http://127.0.0.1:{port}", timeout=0.1)


async def test_our_transport_counts_over_all_origins_and_reads_at_once() -> None:
    async with peer(answering(OK)) as one, peer(answering(CHUNKED)) as two, HTTP1Transport() as transport:
        for it in (one, two):
            response = await transport.handle_async_request(httpx.Request("POST", it.base))
            assert isinstance(response.stream, BodyStream)
            assert await response.stream.read() == b"hello"
            assert await response.stream.read() == b""
        assert transport.counts == Counts(open=2, idle=2, waiting=0)


@pytest.mark.parametrize(
    ("method", "url", "error"),
    [
        pytest.param("HEAD", "http://x/", httpx.LocalProtocolError, id="HEAD"),
        pytest.param("CONNECT", "http://x/", httpx.LocalProtocolError, id="CONNECT"),
        pytest.param("POST", "ftp://x/", httpx.UnsupportedProtocol, id="another scheme"),
    ],
)
async def test_our_transport_refuses(method: str, url: str, error: type[Exception]) -> None:
    async with HTTP1Transport() as transport:
        with pytest.raises(error):
            await transport.handle_async_request(httpx.Request(method, url))


async def test_our_transport_waits_for_a_free_connection_only_so_long() -> None:
    async with peer(silent) as it, httpx.AsyncClient(transport=HTTP1Transport(limit=1)) as client:
        first = asyncio.ensure_future(client.post(it.base))
        await until(lambda: it.accepted)
        with pytest.raises(httpx.PoolTimeout):
            await client.post(it.base, timeout=0.1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


def test_httpx_is_not_loaded_where_no_provider_wants_it() -> None:
    look = "import sys, proxy.app; sys.exit('httpx' in sys.modules or 'rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", look], check=True)


@pytest.mark.parametrize("names", [False, True], ids=["the usual", "those that the environment names"])
def test_the_authorities_are(names: bool, tmp_path: Path, authority: trustme.CA) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    count = "from proxy.dispatch.tls import tls_context; print(len(tls_context().get_ca_certs()))"
    environ = {key: value for key, value in os.environ.items() if not key.startswith("SSL_CERT_")}
    if names:
        environ |= {"SSL_CERT_FILE": str(bundle), "SSL_CERT_DIR": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-c", count], env=environ, capture_output=True, text=True, check=True
    )
    assert (int(told.stdout) == 1) is names
