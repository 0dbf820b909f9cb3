"""The callers: a bounded number of them, at a given rate, on connections that are kept or not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from random import Random

from tests.e2e import raw
from tests.soak.accounts import Accounts, Heard
from tests.soak.mix import Ask, Leave, Mix

PATIENCE = 30.0
"""Seconds for a whole call; longer is a call without an answer."""
PATH = "/v1/chat/completions"


class Load:
    """Asks while a `with` lasts; at its end every call has had its answer."""

    def __init__(self, port: int, mix: Mix, accounts: Accounts, callers: int, rate: float) -> None:
        self._port = port
        self._mix = mix
        self._accounts = accounts
        self._callers = callers
        self._every = 1 / rate
        self._random = Random(callers)
        self._due = 0.0
        self._going = False
        self.ending = False
        """The process has been told to end: from now on no answer is owed."""
        self.late = 0
        """Asks that came more than a second later than the rate says: the callers were all busy."""

    async def __aenter__(self) -> Load:
        self._due = asyncio.get_running_loop().time()
        self._going = True
        self._tasks = [asyncio.create_task(self._call_and_call()) for _ in range(self._callers)]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)

    async def _call_and_call(self) -> None:
        caller: raw.Caller | None = None
        try:
            while await self._turn():
                ask = self._mix.next()
                if caller is None or ask.fresh:
                    _close(caller)
                    caller = await self._connect()
                    if caller is None:
                        return
                heard, keeps = await self._call(caller, ask)
                self._accounts.hear(heard)
                if not keeps:
                    _close(caller, ask.abruptly)
                    caller = None
        finally:
            _close(caller)

    async def _turn(self) -> bool:
        """Waits until another ask is due; False at the end."""
        now = asyncio.get_running_loop().time()
        if now - self._due > 1:
            self.late += 1
            self._due = now
        due, self._due = self._due, self._due + self._every
        if due > now:
            await asyncio.sleep(due - now)
        return self._going

    async def _connect(self) -> raw.Caller | None:
        """None when nobody listens any more."""
        try:
            return raw.Caller(*await asyncio.open_connection("127.0.0.1", self._port))
        except ConnectionRefusedError:
            if self.ending:
                return None
            raise

    async def _call(self, caller: raw.Caller, ask: Ask) -> tuple[Heard, bool]:
        """What was heard, and whether the connection is good for another call."""
        try:
            async with asyncio.timeout(PATIENCE):
                if ask.leave is Leave.NEVER:
                    return await self._stay(caller, ask)
                return await self._leave(caller, ask), False
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            return Heard(ask, excused=self.ending), False

    async def _stay(self, caller: raw.Caller, ask: Ask) -> tuple[Heard, bool]:
        await caller.send("POST", PATH, ask.body, ask.head)
        seen = await caller.hear()
        found = Heard(
            ask,
            seen.status,
            seen.code if seen.whole and seen.body else None,
            seen.headers.get("x-kuro-model"),
            seen.whole,
            seen.status == 200 and (not ask.stream or seen.body.endswith(b"data: [DONE]\n\n")),
            self.ending,
        )
        return found, seen.whole and seen.headers.get("connection") != "close"

    async def _leave(self, caller: raw.Caller, ask: Ask) -> Heard:
        """As much of a call as its caller has patience for."""
        if ask.leave is Leave.SENDING:
            await self._send_half(caller, ask)
            return Heard(ask, excused=self.ending)
        await caller.send("POST", PATH, ask.body, ask.head)
        if ask.leave is Leave.WAITING:
            await asyncio.sleep(ask.patience)
            return Heard(ask, excused=self.ending)
        seen = raw.Heard()
        await caller.head(seen)
        wanted = min(ask.patience, float(seen.headers.get("content-length", "inf")))
        while wanted > 0 and (data := await caller.reader.read(1024)):
            wanted -= len(data)
        return Heard(ask, seen.status, excused=self.ending)

    async def _send_half(self, caller: raw.Caller, ask: Ask) -> None:
        half = ask.body[: self._random.randrange(len(ask.body))]
        lines = [f"POST {PATH} HTTP/1.1", "host: kuro", f"content-length: {len(ask.body)}"]
        lines += [f"{name}: {value}" for name, value in ask.head.items()]
        caller.writer.write("\r\n".join([*lines, "", ""]).encode() + half)
        await caller.writer.drain()
        await asyncio.sleep(ask.patience)


def _close(caller: raw.Caller | None, abruptly: bool = False) -> None:
    if caller is None:
        return
    transport = caller.writer.transport
    if not abruptly:
        transport.close()
        return
    with contextlib.suppress(OSError):  # it is closed already
        # Linger of zero seconds: closing resets the connection.
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
