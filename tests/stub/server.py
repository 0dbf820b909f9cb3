"""The stub upstream: an HTTP/1.1 server that does to each request what the test scripted for its model.

    with StubUpstream() as stub:              in a thread of its own
    async with StubUpstream() as stub:        in the test's own loop
        stub.script("model-a", fail(500), ok("hello world"))    in order, the last one repeats

It writes bytes to the socket itself, so that it can stop, cut and lie at any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.stub.behaviours import fail, gated, ok
from tests.stub.dialects import DIALECTS, OPENAI
from tests.stub.reply import Behaviour, End, play
from tests.stub.signals import PATIENCE, Flag, Gate, Received, Tally

_LIMIT = 64 * 1024 * 1024
"""Bytes of a head line or body that are accepted."""


class StubUpstream:
    """One upstream on a loopback port from the OS. Everything public may be used from any thread."""

    def __init__(
        self,
        *,
        port: int = 0,
        close_after: int = 0,
        drop_after: int = 0,
        on_request: Callable[[Received], None] = lambda received: None,
    ) -> None:
        """`close_after` k: a connection is closed once k requests were answered on it, unannounced.

        `drop_after` k: it is kept, but the next request on it meets a closed connection instead of an
        answer, and is counted in `dropped`, not in `hits`: the race of a stale connection, every time.
        """
        self.requests: dict[str, list[Received]] = defaultdict(list)
        """Model -> its requests in order of arrival; requests without a model under the empty name."""
        self.default: Behaviour = ok()
        self.connections = 0
        """Accepted in all."""
        self.open_connections = 0
        self.dropped = 0
        self._address = ("127.0.0.1", port)
        self._close_after, self._drop_after = close_after, drop_after
        self._on_request = on_request
        self._scripts: dict[str, list[Behaviour]] = {}
        self._gates: dict[str, Gate] = {}
        self._tallies: dict[str, Tally] = defaultdict(Tally)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    # --- what a test says and asks ---------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._address[1]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL, as a registry's `base_url` wants it."""
        return f"{self.origin}/v1"

    def script(self, model: str, *behaviours: Behaviour) -> None:
        """What happens to the next requests for the model; the last behaviour repeats."""
        with self._lock:
            self._scripts[model] = list(behaviours) or [self.default]

    def gate(self, model: str) -> Gate:
        """From now on every request for the model waits here, before the head of its answer."""
        with self._lock:
            return self._gates.setdefault(model, Gate())

    def hits(self, model: str) -> int:
        """Requests that came in whole."""
        return len(self.requests.get(model, ()))

    @property
    def total_hits(self) -> int:
        return sum(map(len, self.requests.values()))

    def last(self, model: str) -> Received:
        return self.requests[model][-1]

    async def wait_hits(self, model: str, number: int, timeout: float = PATIENCE) -> Received:
        """Until the model was asked so often; the request that made it so. Raises TimeoutError."""
        await self._reached(model, number).wait(timeout)
        return self.requests[model][number - 1]

    def block_hits(self, model: str, number: int, timeout: float = PATIENCE) -> Received:
        """The same for tests that have no loop."""
        self._reached(model, number).block(timeout)
        return self.requests[model][number - 1]

    def _reached(self, model: str, number: int) -> Flag:
        with self._lock:
            tally = self._tallies[model]
        return tally.reached(number)

    # --- life ------------------------------------------------------------------------------------

    async def __aenter__(self) -> StubUpstream:
        self._server = await self._listen()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._close(self._server)

    def __enter__(self) -> StubUpstream:
        ready = Flag()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live(ready)), name="stub", daemon=True
        )
        self._thread.start()
        ready.block()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._thread and self._loop and self._stopping
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)

    async def _live(self, ready: Flag) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await self._listen()
        ready.set()
        await self._stopping.wait()
        await self._close(server)

    async def _listen(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._accept, *self._address, backlog=4096)
        self._address = server.sockets[0].getsockname()[:2]
        return server

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0)  # lets aborted transports close their sockets

    # --- connections -----------------------------------------------------------------------------

    def _accept(self) -> asyncio.Protocol:
        self.connections += 1
        number = self.connections

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._serve(connection))
            connection.writer = writer
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        reader = asyncio.StreamReader(_LIMIT)
        connection = _Connection(number, reader)
        return _Protocol(reader, connected, connection)

    async def _serve(self, connection: _Connection) -> None:
        self.open_connections += 1
        try:
            await self._converse(connection)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the client left or spoke something else: nothing is owed to it
        finally:
            self.open_connections -= 1
            connection.end(End.FIN if connection.polite else End.RST)

    async def _converse(self, connection: _Connection) -> None:
        served = 0
        while (received := await connection.receive()) is not None:
            if self._drop_after and served >= self._drop_after:
                self.dropped += 1
                return
            end = await self._answer(connection, received)
            served += 1
            connection.polite = end is not End.RST
            if end is not End.WHOLE or served == self._close_after or _wants_close(received):
                return

    async def _answer(self, connection: _Connection, received: Received) -> End:
        reply = self._choose(received)(received)

        async def answer() -> None:
            await play(connection.write, reply)
            connection.on_gone(None)  # in the same step as the last write: who leaves now has it all
            received.answered.set()

        playing = asyncio.get_running_loop().create_task(answer())

        def left() -> None:
            received.disconnected.set()
            playing.cancel()

        connection.on_gone(left)
        self._on_request(received)
        self._tallies[received.model].add()
        try:
            await asyncio.wait([playing])
        finally:
            playing.cancel()  # the stub is being closed
        if playing.cancelled():
            raise ConnectionResetError
        playing.result()
        return End.FIN if reply.framing == "close" else reply.end

    def _choose(self, received: Received) -> Behaviour:
        with self._lock:
            self.requests[received.model].append(received)
            _ = self._tallies[received.model]
            gate = self._gates.get(received.model)
            behaviour = self._next(received)
        return gated(gate, behaviour) if gate else behaviour

    def _next(self, received: Received) -> Behaviour:
        if received.path not in DIALECTS:
            return fail(404)
        script = self._scripts.get(received.model)
        if script is None:
            return self.default
        return script.pop(0) if len(script) > 1 else script[0]


class _Connection:
    """One accepted connection: reads requests whole, writes bytes, ends as told."""

    def __init__(self, number: int, reader: asyncio.StreamReader) -> None:
        self.number = number
        self.reader = reader
        self.writer: asyncio.StreamWriter
        self.polite = True
        """Its end is a FIN, not a reset."""
        self._gone = False
        self._notice: Callable[[], Any] | None = None

    def on_gone(self, notice: Callable[[], Any] | None) -> None:
        """Who is told when the client leaves; at once, when it already has."""
        self._notice = notice
        if notice and self._gone:
            notice()

    def gone(self) -> None:
        """The client closed its side or is lost."""
        self._gone = True
        if self._notice:
            self._notice()

    async def receive(self) -> Received | None:
        """The next request, None when the client ended the connection between requests."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return None
        request_line, *lines = head[:-4].split("\r\n")
        method, target, _ = request_line.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = tuple((name, value.strip()) for name, _, value in pairs)
        body = await self._body({name.lower(): value for name, value in headers})
        dialect = DIALECTS.get(target.partition("?")[0], OPENAI)
        now = time.monotonic()
        return Received(method, target, headers, body, _object(body), now, self.number, dialect)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await self.reader.readexactly(int(headers.get("content-length", 0)))
        parts = []
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        while await self.reader.readuntil(b"\r\n") != b"\r\n":
            pass  # trailers
        return b"".join(parts)

    async def write(self, data: bytes, size: int = 0, pace: float = 0.0) -> None:
        """Writes it at once, or `size` bytes at a time and `pace` seconds apart."""
        for start in range(0, len(data), size or len(data) or 1):
            if size:
                await asyncio.sleep(pace)
            self.writer.write(data[start : start + size] if size else data)
            await self.writer.drain()

    def end(self, end: End) -> None:
        if end is End.RST:
            # Linger of zero seconds: close() sends RST instead of FIN.
            sock = self.writer.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()


class _Protocol(asyncio.StreamReaderProtocol):
    """asyncio's own, which also says at once that the client left."""

    def __init__(self, reader: asyncio.StreamReader, connected: Any, connection: _Connection) -> None:
        super().__init__(reader, connected)
        self._connection = connection

    def eof_received(self) -> bool | None:
        super().eof_received()
        self._connection.gone()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._connection.gone()


def _object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object, or an empty one."""
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _wants_close(received: Received) -> bool:
    return (received.header("connection") or "").lower() == "close"
