"""One soak from start to end.

start -> a few calls, rest: the baseline -> load, reloads -> rest: is all back? -> load, SIGTERM in it
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.soak import house
from tests.soak.accounts import Accounts
from tests.soak.house import Kuro
from tests.soak.load import Load
from tests.soak.mix import Mix
from tests.soak.upstream import Upstream
from tests.soak.verdict import Run
from tests.soak.watch import Sample, look

EVERY = 1.0
"""Seconds between two looks."""
TOLD = 30.0
"""Seconds between two lines of progress."""
FIRST, LAST = 3.0, 3.0
"""Seconds of load before the baseline, and at the end, when SIGTERM comes into it."""
REST = 45.0
"""Seconds after which nothing can still be kept for being used again."""


@dataclass(frozen=True)
class Options:
    """Times are seconds. `reload` 0: none."""

    place: Path
    seconds: float
    warm_up: float
    rate: float = 120.0
    callers: int = 40
    faults: float = 0.1
    seed: int = 1
    reload: float = 60.0


class Tail:
    """The log file, as far as it has been read into the accounts."""

    def __init__(self, path: Path, accounts: Accounts) -> None:
        self._file = path.open("rb")
        self._accounts = accounts
        self._rest = b""

    def read(self) -> None:
        """Takes what has come."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            self._accounts.read(line)

    def close(self) -> None:
        self._file.close()


class Soak:
    """What belongs together while it lasts."""

    def __init__(self, options: Options, upstream: Upstream, kuro: Kuro) -> None:
        self._options = options
        self._upstream = upstream
        self._kuro = kuro
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self.accounts = Accounts()
        self._tail = Tail(kuro.log, self.accounts)
        self._mix = Mix(options.seed)
        self.samples: list[Sample] = []
        self.reloads = 0

    def load(self) -> Load:
        options = self._options
        return Load(self._kuro.port, self._mix, self.accounts, options.callers, options.rate)

    async def first(self) -> tuple[Sample, int]:
        """A few calls, a reload and a full pool, so that whatever is made once is made; then the baseline."""
        async with self.load():
            await asyncio.sleep(FIRST)
            if self._options.reload:
                self._reload()
                await self._reloaded()
        await self._kuro.fill_pool()
        return await self.rest(None)

    async def rest(self, wanted: Sample | None) -> tuple[Sample, int]:
        """How it stands when nobody asks anything and nothing is kept; and the upstream's connections."""
        until, stood = self._clock() + REST, -1
        while True:
            await asyncio.sleep(EVERY)
            self._tail.read()
            sample, upstream = await self._look(), (await self._upstream.state())["open"]
            idle = not upstream and (sample.open == stood if wanted is None else sample.open <= wanted.open)
            stood = sample.open
            if idle or self._clock() > until:
                return sample, upstream

    async def main(self) -> None:
        """The load whose traces are looked for."""
        self._began = told = reloaded = self._clock()
        until = self._began + self._options.seconds
        async with self.load():
            while (now := self._clock()) < until:
                await asyncio.sleep(max(self._began + len(self.samples) * EVERY - now, 0.0))
                self._tail.read()
                self.samples.append(await self._look())
                if self._options.reload and now - reloaded >= self._options.reload:
                    reloaded = now
                    self._reload()
                if now - told >= TOLD:
                    told = now
                    await self._tell()

    async def end(self) -> int:
        """SIGTERM while calls go on; the exit code, with all books closed."""
        async with self.load() as load:
            await asyncio.sleep(LAST)
            load.ending = True
            code = await self._kuro.stop()
        self._tail.read()
        self._tail.close()
        self.accounts.close()
        return code

    def _reload(self) -> None:
        self.reloads += 1
        house.write(self._options.place, self._upstream.port, self.reloads)
        self._kuro.reload()

    async def _reloaded(self) -> None:
        """Until the log says so. Raises TimeoutError."""
        async with asyncio.timeout(REST):
            while self.accounts.reloaded < self.reloads:
                await asyncio.sleep(EVERY / 10)
                self._tail.read()

    async def _look(self) -> Sample:
        return await look(self._kuro.pid, self._kuro.port, self._clock() - self._began)

    async def _tell(self) -> None:
        now, books = self.samples[-1], self.accounts
        gauges = "  ".join(
            f"{name.removeprefix('llm_')} {value:g}" for name, value in now.gauges.items() if value
        )
        state = await self._upstream.state()
        print(
            f"{now.at:5.0f} s  {books.asked:7,} calls  {now.resident:6.2f} MB ({now.anonymous:.2f})  "
            f"{now.open} descriptors  {now.threads} threads  upstream {state['open']}  {gauges}  "
            f"problems {len(books.problems)}",
            flush=True,
        )


async def soak(options: Options) -> Run:
    """All of it. Raises TimeoutError when the process doesn't start or end."""
    async with Upstream(options.faults, options.seed) as upstream, _kuro(options, upstream) as kuro:
        going = Soak(options, upstream, kuro)
        before, upstream_before = await going.first()
        await going.main()
        after, upstream_after = await going.rest(before)
        code = await going.end()
    return Run(
        samples=going.samples,
        before=before,
        after=after,
        upstream_before=upstream_before,
        upstream_after=upstream_after,
        accounts=going.accounts,
        warm_up=options.warm_up,
        reloads=going.reloads,
        reloaded=going.accounts.reloaded,
        code=code,
    )


@contextlib.asynccontextmanager
async def _kuro(options: Options, upstream: Upstream) -> AsyncIterator[Kuro]:
    kuro = await Kuro.start(house.write(options.place, upstream.port))
    try:
        yield kuro
    finally:
        kuro.kill()
