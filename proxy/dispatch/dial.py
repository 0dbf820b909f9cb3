"""Opens one connection: resolve, race the addresses (RFC 8305, "happy eyeballs"), then TLS.

    name -> [v6, v4, v6, ...] -> the first socket that connects -> TLS with verification and SNI

uvloop's `create_connection` tries one address after the other and has no race of its own, hence this room.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar

P = TypeVar("P", bound=asyncio.BaseProtocol)

STAGGER = 0.25
"""Seconds that an address gets before the next one is tried beside it (RFC 8305, section 5)."""

Address = tuple[Any, ...]
"""One entry of getaddrinfo: family, type, protocol, canonical name, socket address."""

Resolve = Callable[..., Awaitable[Sequence[Address]]]


async def dial(
    protocol: Callable[[], P],
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    resolve: Resolve | None = None,
) -> tuple[asyncio.Transport, P]:
    """A connected transport and its protocol. `resolve` is the event loop's getaddrinfo, or another.

    Raises OSError (ssl.SSLError is one), and UnicodeError or ValueError for a host that can't be a name.
    Cancelling it leaves no socket behind. How long it may take is the caller's business.
    """
    loop = asyncio.get_running_loop()
    found = await (resolve or loop.getaddrinfo)(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError("the name has no address")
    connected = await _race(interleave(found))
    # Neither loop awaits before the transport owns the socket, so nothing can be lost in between.
    return await loop.create_connection(
        protocol, sock=connected, ssl=tls, server_hostname=host if tls is not None else None
    )


def interleave(found: Sequence[Address]) -> list[Address]:
    """The resolver's order with the families taking turns, the resolver's first one first."""
    first = [entry for entry in found if entry[0] == found[0][0]]
    others = [entry for entry in found if entry[0] != found[0][0]]
    return [entry for entry in chain.from_iterable(zip_longest(first, others)) if entry is not None]


async def _race(addresses: list[Address]) -> socket.socket:
    """The first socket that connects; the losers are closed. Raises the first address's error."""
    waiting = addresses[::-1]
    started: list[asyncio.Task[socket.socket]] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while winner is None and (waiting or not all(task.done() for task in started)):
            if waiting:
                started.append(asyncio.ensure_future(_connect(waiting.pop())))
            await asyncio.wait(
                [task for task in started if not task.done()],
                timeout=STAGGER if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            winner = next((task for task in started if _connected(task)), None)
    finally:
        for task in started:
            if task is not winner:
                task.cancel()
                task.add_done_callback(_close_late)
    return (winner or started[0]).result()


def _connected(task: asyncio.Task[socket.socket]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if _connected(task):
        task.result().close()


async def _connect(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    connecting = socket.socket(family, kind, protocol)
    try:
        connecting.setblocking(False)
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connecting, where)
    except BaseException:
        connecting.close()
        raise
    return connecting
