"""The connections to one origin: hands them out, takes them back, never more than so many at once.

    request --idle one--> send          a slot is a connection or an attempt to make one, `limit` in all;
       |  --free slot---> dial, send    whoever gives one up hands it to the first in the queue, so a queue
       +--neither-------> queue         and something free never exist side by side

One coarse ticker serves every wait: 50 ms while anything is in use, else asleep until an idle one expires.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from weakref import WeakSet

from msgspec import Struct

from proxy.dispatch.alarm import Alarms
from proxy.dispatch.dial import dial
from proxy.dispatch.http1 import Connection
from proxy.dispatch.response import Response
from proxy.dispatch.trouble import Http1Error, Trouble, Waits
from proxy.standstill import Tick

TICK = 0.05
"""Seconds; waits end up to this much late."""
KEEP_ALIVE = 30.0
"""Seconds that an idle connection is kept, unless the upstream asks for less."""

SPARED = 8
"""Idle connections that a pool gives up when a dial finds no descriptor left."""

LOCAL_ERRNOS = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EAGAIN)
)
"""Nothing is wrong with the upstream: this machine has no descriptor, buffer or port left."""

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "TLS failed"),
    (socket.gaierror, "its name was not resolved"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionError, "the connection was closed while it was being made"),
    (OSError, "unreachable"),
    (Exception, "its name is not a host name"),
)
"""The first row that fits; the exception's own text would name the address."""


class Counts(Struct, frozen=True):
    """Connections open (in use, idle or being made), idle among them, and requests waiting for one."""

    open: int
    idle: int
    waiting: int


class Pool:
    """Connections to one host and port. Belongs to the event loop of its first request."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        limit: int = 512,
        keep_alive: float = KEEP_ALIVE,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.loop: asyncio.AbstractEventLoop
        self.clock = clock
        self._where = (host, port, tls)
        self._limit = limit
        self._keep_alive = keep_alive
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        """The last one used is the first one used again: what isn't needed expires."""
        self._dialing = 0
        self._queue: OrderedDict[asyncio.Future[Connection | None], float] = OrderedDict()
        """Who waits, in order, and until when. Gets a connection, or None: a slot to dial with."""
        self._timer: asyncio.TimerHandle | None = None
        self._due = Tick()
        self._alarms = Alarms(clock)
        """For dials."""
        self._awake = False
        self._closed = False
        self._retired = False
        self._lingering: set[Connection] = set()
        """Closed connections whose transport hasn't ended yet."""
        self._ended: asyncio.Future[None] | None = None
        _pools.add(self)

    @property
    def counts(self) -> Counts:
        """How it stands."""
        return Counts(len(self._connections) + self._dialing, len(self._idle), len(self._queue))

    async def request(self, head: bytes, body: bytes, waits: Waits, *, fresh: bool = False) -> Response:
        """Sends a request, `head` complete with its blank line, and waits for the head of the response.

        `fresh` demands a connection that has served nothing. Cancelling it at any point costs at most the
        connection, never its slot. Raises Http1Error.
        """
        connection = None if fresh else self._reuse()
        if connection is None:
            connection = await self._obtain(waits, fresh)
        response = connection.send(head, body, waits)
        if not self._awake:
            self._wake()
        try:
            while not response.status:
                await response.news()
                if response.error is not None:
                    raise response.error
        except BaseException:
            response.abort()
            raise
        response.patience = waits.read
        return response

    async def aclose(self) -> None:
        """Closes everything at once: requests in flight and in the queue get an error."""
        self._closed = True
        while self._queue:
            self._refuse(self._queue.popitem(last=False)[0], Trouble.CLOSED, "the pool is closed")
        for connection in tuple(self._connections):
            connection.fail(Trouble.CLOSED, "the pool is closed")
        if self._timer is not None:
            self._timer.cancel()
        if self._lingering:
            self._ended = self.loop.create_future()
            await self._ended

    def retire(self) -> bool:
        """Another takes its place: idle connections go now, the others when their exchanges are over.

        Whether any of those are left. Idempotent; who still holds on to this one may ask.
        """
        self._retired = True
        for connection in tuple(self._idle):
            connection.discard()
        return self.counts.open > 0

    def spare(self) -> None:
        """Descriptors have run out somewhere: closes the oldest idle connections."""
        for connection in self._idle[:SPARED]:
            connection.discard()

    # --- told by connections ---------------------------------------------------------------------

    def returned(self, connection: Connection) -> None:
        """A connection that can be used again goes to the first in the queue, or to rest."""
        turn = self._next() if self._queue else None
        if turn is not None:
            turn.set_result(connection)
            return
        if self._retired:
            connection.discard()
            return
        connection.rest(self._keep_alive, self.clock())
        self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """A closed connection's slot goes to the first in the queue."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._lingering.add(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._grant()

    def gone(self, connection: Connection) -> None:
        """Its transport has ended."""
        self._lingering.discard(connection)
        if self._ended is not None and not self._lingering and not self._ended.done():
            self._ended.set_result(None)

    # --- finding a connection --------------------------------------------------------------------

    def _reuse(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable(self.clock()):
                return connection
            connection.discard()
        return None

    async def _obtain(self, waits: Waits, fresh: bool) -> Connection:
        """A connection when none is idle, or when none of the idle ones will do."""
        self.loop = asyncio.get_running_loop()
        deadline = self.clock() + waits.pool
        again = False
        while not self._closed:
            if self._has_room():
                self._dialing += 1
                return await self._dial(waits.connect)
            if self._idle:
                self._idle[0].discard()
                continue
            connection = await self._stand_in_line(deadline, first=again)
            if connection is None:
                return await self._dial(waits.connect)
            if not fresh and not connection.closed:
                return connection
            # Another one goes in its place; should it have died on the way, its slot is already somebody's.
            again = True
            if not connection.closed:
                self._dialing += 1
                connection.discard()
                return await self._dial(waits.connect)
        raise Http1Error(Trouble.CLOSED, "the pool is closed")

    def _has_room(self) -> bool:
        return len(self._connections) + self._dialing < self._limit

    async def _stand_in_line(self, deadline: float, *, first: bool) -> Connection | None:
        turn: asyncio.Future[Connection | None] = self.loop.create_future()
        self._queue[turn] = deadline
        if first:
            self._queue.move_to_end(turn, last=False)
        if not self._awake:
            self._wake()
        try:
            return await turn
        except asyncio.CancelledError:
            self._queue.pop(turn, None)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on(turn.result())
            raise

    def _pass_on(self, connection: Connection | None) -> None:
        """What was given to somebody who no longer wants it."""
        if connection is None:
            self._dialing -= 1
            self._grant()
        elif not connection.closed:
            self.returned(connection)

    def _grant(self) -> None:
        while self._has_room() and (turn := self._next()) is not None:
            self._dialing += 1
            turn.set_result(None)

    def _next(self) -> asyncio.Future[Connection | None] | None:
        """The first in line who still wants its turn: a cancelled task leaves the queue only when it runs."""
        while self._queue:
            turn, _ = self._queue.popitem(last=False)
            if not turn.done():
                return turn
        return None

    async def _dial(self, patience: float) -> Connection:
        """Turns a slot, which is already counted, into a connection or frees it."""
        connection = Connection(self)
        host, port, tls = self._where
        try:
            with self._alarms.limit(patience):
                try:
                    await dial(lambda: connection, host, port, tls)
                except OSError as error:
                    if not _is_local(error):
                        raise
                    for pool in tuple(_pools):
                        pool.spare()
                    await asyncio.sleep(TICK)  # until the descriptors are really free, these or others
                    await dial(lambda: connection, host, port, tls)
            if self._closed:
                raise Http1Error(Trouble.CLOSED, "the pool is closed")
            if connection.closed:
                raise Http1Error(Trouble.DISCONNECTED, "the connection was closed as soon as it was made")
            self._connections.add(connection)
        except TimeoutError:
            raise Http1Error(Trouble.CONNECT_TIMEOUT, f"not connected within {patience:g} s") from None
        except (OSError, ValueError) as error:
            raise _unconnected(error) from error
        finally:
            self._dialing -= 1
            if connection not in self._connections:
                connection.discard()
                self._grant()
        return connection

    # --- the ticker ------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._awake = True
        self._due.due_in(TICK)
        self._timer = self.loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        now = self.clock()
        if lost := self._due.lost():
            self._put_off(lost)
        for connection in tuple(self._connections):
            connection.tick(now)
        for turn in [turn for turn, deadline in self._queue.items() if deadline <= now]:
            del self._queue[turn]
            self._refuse(turn, Trouble.POOL_TIMEOUT, "no connection became free in time")
        self._awake = bool(self._queue) or len(self._idle) < len(self._connections)
        self._timer = None
        if self._awake or self._idle:
            pause = self._pause(now)
            self._due.due_in(pause)
            self._timer = self.loop.call_later(pause, self._tick)

    def _put_off(self, seconds: float) -> None:
        for connection in self._connections:
            connection.put_off(seconds)
        for turn in self._queue:
            self._queue[turn] += seconds

    def _pause(self, now: float) -> float:
        if self._awake:
            return TICK
        return max(min(connection.expires for connection in self._idle) - now, TICK)

    def _refuse(self, turn: asyncio.Future[Connection | None], kind: Trouble, message: str) -> None:
        if not turn.done():
            turn.set_exception(Http1Error(kind, message))


_pools: WeakSet[Pool] = WeakSet()
"""All of this process: descriptors are the process's, so what is idle in one serves another."""


def _is_local(error: OSError) -> bool:
    if isinstance(error, socket.gaierror):
        return _is_out_of_descriptors()  # a resolver that could open nothing says only that it failed
    return error.errno in LOCAL_ERRNOS


def _is_out_of_descriptors() -> bool:
    try:
        socket.socket().close()
    except OSError:
        return True
    return False


def _unconnected(error: OSError | ValueError) -> Http1Error:
    if isinstance(error, OSError) and _is_local(error):
        name = errno.errorcode.get(error.errno or 0, "EMFILE")
        return Http1Error(Trouble.LOCAL, f"no connection could be made: {name}")
    reason = next(text for kind, text in _REASONS if isinstance(error, kind))
    return Http1Error(Trouble.CONNECT, f"could not connect: {reason}")
