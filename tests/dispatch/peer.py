"""An upstream that does exactly what a script says, byte for byte, over a real loopback socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress


class Line:
    """One accepted connection, as the script holds it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number
        """1 for the first connection."""

    async def head(self) -> bytes:
        """The next request's head; empty when the client has closed."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            return await self.reader.readuntil(b"\r\n\r\n")
        return b""

    async def request(self) -> bytes:
        """The next request, whole; empty when the client has closed."""
        head = await self.head()
        if not head:
            return b""
        lengths = (
            int(line.partition(b":")[2])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        length = next(lengths, 0)
        return head + await self.reader.readexactly(length)

    async def send(self, *pieces: bytes) -> None:
        """Each piece as a segment of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    def half_close(self) -> None:
        """Nothing more will come from here; still reading."""
        self.writer.write_eof()

    def reset(self) -> None:
        """RST instead of FIN."""
        handle = self.writer.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """FIN, when all is sent."""
        self.writer.close()

    async def closed(self) -> None:
        """Until the client has closed."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


class Peer:
    """The upstream: where it listens and what it has seen."""

    def __init__(self) -> None:
        self.port = 0
        self.accepted = 0
        self.server_names: list[str | None] = []
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def base(self) -> str:
        """Its address as a base_url."""
        return f"http://127.0.0.1:{self.port}"


Script = Callable[[Line], Awaitable[None]]


@asynccontextmanager
async def peer(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Runs `script` for each connection. What goes wrong in a script fails the test."""
    it = Peer()
    failures: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        it.accepted += 1
        it.tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await script(Line(reader, writer, it.accepted))
        except (asyncio.CancelledError, ConnectionError):
            pass  # The test is over, or the client closed before it had heard all: many tests want just that.
        except BaseException as error:
            failures.append(error)
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    if tls is not None:
        tls.sni_callback = lambda _, name, __: it.server_names.append(name)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        for task in it.tasks:
            task.cancel()
        await asyncio.gather(*it.tasks, return_exceptions=True)
        await server.wait_closed()
    if failures:
        raise failures[0]


def answering(*pieces: bytes) -> Script:
    """Answers every request with these bytes, keeping the connection."""

    async def script(line: Line) -> None:
        while await line.request():
            await line.send(*pieces)

    return script


def once(*pieces: bytes, then: Callable[[Line], None] | None = None) -> Script:
    """Answers one request with these bytes, does something, and waits for the client to close."""

    async def script(line: Line) -> None:
        await line.request()
        await line.send(*pieces)
        if then is not None:
            then(line)
        await line.closed()

    return script


async def until(condition: Callable[[], object]) -> None:
    """Lets the loop turn until it holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event to wait on)
            await asyncio.sleep(0)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def cuts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every way to cut in two."""
    for at in range(1, len(data)):
        yield data[:at], data[at:]


@contextmanager
def unanswering() -> Iterator[int]:
    """A port whose queue of connections is full: whoever connects waits."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
