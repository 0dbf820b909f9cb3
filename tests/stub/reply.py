"""One answer as a value, and how it is played on a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from tests.stub.dialects import Kind, Piece
from tests.stub.signals import Gate, Received


class End(Enum):
    """What happens after the last piece."""

    WHOLE = "the body is ended properly and the connection kept"
    FIN = "the connection is closed, the body's end is not marked"
    RST = "the connection is reset"
    SILENCE = "nothing, until the client leaves"


@dataclass(frozen=True)
class Reply:
    """One answer, ready to be played on a socket. Times are seconds."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[Piece, ...] = ()
    end: End = End.WHOLE
    framing: str = "length"
    """`length`, `chunked`, or `close`: the body ends with the connection."""
    raw: bool = False
    """No head is written and no framing added: `pieces` are all that is sent."""
    preface: bytes = b""
    """Sent before the head: interim responses."""
    head_delay: float = 0.0
    first_delay: float = 0.0
    """Between the head and the first delta."""
    pace: float = 0.0
    """Between pieces."""
    forever: bool = False
    """The last piece is repeated until the client leaves."""
    split: int = 0
    """Bytes per write, 0 for whole pieces."""
    split_pace: float = 0.0
    gates: Mapping[int, Gate] = field(default_factory=dict)
    """Piece number, from zero -> the gate that it waits at; -1 is before the head."""

    @property
    def streamed(self) -> bool:
        return ("content-type", "text/event-stream") in self.headers

    @property
    def body(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)


Behaviour = Callable[[Received], Reply]

Write = Callable[[bytes, int, float], Awaitable[None]]
"""Bytes, how many of them per write (0: all), and the seconds between writes."""

_NO_BODY = frozenset({204, 304})


async def play(write: Write, reply: Reply) -> None:
    """Writes the whole reply, at its pace; with silence at its end it never returns."""
    if gate := reply.gates.get(-1):
        await gate.passage()
    if reply.head_delay:
        await asyncio.sleep(reply.head_delay)
    if not reply.raw:
        await write(reply.preface + _head(reply), reply.split, reply.split_pace)
    async for piece in _paced(reply):
        data = _framed(reply, piece.data)
        await write(data, reply.split, reply.split_pace)
    if reply.end is End.SILENCE:
        await asyncio.Event().wait()
    if reply.framing == "chunked" and reply.end is End.WHOLE and not reply.raw:
        await write(b"0\r\n\r\n", reply.split, reply.split_pace)


async def _paced(reply: Reply) -> AsyncIterator[Piece]:
    """The pieces, each when its time has come and its gate is open."""
    waited = False
    for number, piece in enumerate(reply.pieces):
        if gate := reply.gates.get(number):
            await gate.passage()
        if piece.kind is Kind.DELTA and not waited:
            waited = True
            await asyncio.sleep(reply.first_delay)
        elif number and reply.pace:
            await asyncio.sleep(reply.pace)
        yield piece
    while reply.forever:
        await asyncio.sleep(reply.pace)
        yield reply.pieces[-1]


def _head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} Stub", *(f"{name}: {value}" for name, value in reply.headers)]
    named = {name.lower() for name, _ in reply.headers}
    if reply.framing == "chunked":
        lines.append("transfer-encoding: chunked")
    elif reply.framing == "close":
        lines.append("connection: close")
    elif "content-length" not in named and reply.status not in _NO_BODY:
        lines.append(f"content-length: {len(reply.body)}")
    if "x-request-id" not in named:
        lines.append("x-request-id: req_stub")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _framed(reply: Reply, data: bytes) -> bytes:
    if reply.framing != "chunked" or reply.raw or not data:
        return data
    return b"%x\r\n%b\r\n" % (len(data), data)
