"""Slow callers by the thousand, in a process of their own: each sends a byte now and then and never ends.

    python -m tests.e2e.slowloris --port 8080 --count 10000 --kind heads

Prints a JSON line when all are connected, and one when the last of them was cut: how they ended, and when.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections import Counter

import uvloop

BEGIN = {
    "heads": b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "bodies": b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 1000000\r\n\r\n{"model": "',
}
PACE = 2.0
"""Seconds between two bytes of one connection."""
_RAMP = 200
"""Connections that are opened at once."""
_REST = 0.05
"""Seconds between two such lots: 4,000 a second."""
_LONGEST = 120.0
"""Seconds, then a run has failed."""


class Slow(asyncio.Protocol):
    """One of them."""

    def __init__(self, crowd: Slowloris) -> None:
        self._crowd = crowd
        self._read = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._began = time.monotonic()
        transport.write(self._crowd.begin)

    def data_received(self, data: bytes) -> None:
        self._read += data

    def connection_lost(self, exc: Exception | None) -> None:
        status = self._read.split(b" ")[1].decode() if self._read.startswith(b"HTTP/") else "none"
        self._crowd.ended(self, status, time.monotonic() - self._began)


class Slowloris:
    """All of them."""

    def __init__(self, begin: bytes) -> None:
        self.begin = begin
        self.open: set[Slow] = set()
        self.statuses: Counter[str] = Counter()
        self.lives: list[float] = []

    def ended(self, slow: Slow, status: str, life: float) -> None:
        self.open.discard(slow)
        self.statuses[status] += 1
        self.lives.append(life)

    async def run(self, port: int, count: int) -> None:
        async with asyncio.timeout(_LONGEST):
            loop = asyncio.get_running_loop()
            for start in range(0, count, _RAMP):
                opening = [
                    loop.create_connection(lambda: Slow(self), "127.0.0.1", port)
                    for _ in range(min(_RAMP, count - start))
                ]
                self.open |= {slow for _, slow in await asyncio.gather(*opening)}
                await asyncio.sleep(_REST)
            print(json.dumps({"connected": count, "open": len(self.open)}), flush=True)
            while self.open:
                await self._trickle()
        lives = sorted(self.lives)
        told = {
            "statuses": self.statuses,
            "first_s": lives[0],
            "p50_s": lives[count // 2],
            "last_s": lives[-1],
        }
        print(json.dumps(told), flush=True)

    async def _trickle(self) -> None:
        slow = list(self.open)
        lot = max(1, len(slow) // 50)
        for start in range(0, len(slow), lot):
            for one in slow[start : start + lot]:
                if not one.transport.is_closing():
                    one.transport.write(b"a")
            await asyncio.sleep(PACE / 50)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.slowloris", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--kind", choices=list(BEGIN), default="heads")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(Slowloris(BEGIN[options.kind]).run(options.port, options.count))


if __name__ == "__main__":
    main()
