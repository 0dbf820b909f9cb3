"""The configuration in force and the next one: who asks for it, what is decided, what is said about it.

    SIGHUP, Watch, POST /admin/v1/reload --Asked--> Keeper.decide --Verdict--> every process adopts it

The keeper lives in the only process, or in the parent of several workers. It decides on all or nothing.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from proxy.dispatch.transport import open_upstream
from proxy.errors import ApiError, ConfigError
from proxy.server.auth import check_listen
from proxy.server.link import Answer, Line, Order
from proxy.server.workers import Work
from proxy.settings import Settings
from proxy.settings.changes import Changes, changes, in_place
from proxy.types import SIMULATED

logger = logging.getLogger("kuro")


class Asked(Struct, frozen=True):
    """A reload is wanted: by `signal`, `watch` or `admin`."""

    by: str


class Report(Struct, frozen=True):
    """What came of it, for a reader. Holds no secret."""

    result: str
    """`changed`, `unchanged` or `refused`."""
    by: str
    epoch: str
    """Of the configuration in force afterwards."""
    changes: Changes = Changes()
    problems: tuple[str, ...] = ()
    """Why it was refused, a line each."""
    warnings: tuple[str, ...] = ()


class Verdict(Struct, frozen=True):
    """What every process is to do about it: take `settings`, if there are any."""

    report: Report
    settings: Settings | None = None


Ask = Callable[[Asked], Awaitable[Verdict]]


class Keeper:
    """Holds the configuration in force, and reads the next one. Not to be asked by two threads at once."""

    def __init__(
        self,
        settings: Settings,
        source: Callable[[], Settings],
        footprint: Callable[[], bytes],
        host: str,
        start: Callable[[Settings], Work],
    ) -> None:
        """`footprint` is a digest of the files, `host` what is listened on, `start` makes a worker's work."""
        self.settings = settings
        self.footprint = footprint
        self.seen = footprint()
        """Of the files as they were read last, good or not."""
        self._source = source
        self._host = host
        self._start = start

    def work(self) -> Work:
        """What a worker does that starts now."""
        return self._start(self.settings)

    def hung_up(self) -> Asked:
        """What SIGHUP asks for."""
        return Asked("signal")

    def decide(self, asked: Asked) -> Verdict:
        """Reads and checks; the log says what came of it. Takes a tenth of a second."""
        old = self.settings
        self.seen = self.footprint()
        try:
            read = self._source()
            check_listen(self._host, read.access)
            _check_ways(old, read)
        except ConfigError as error:
            report = Report("refused", asked.by, old.epoch, problems=error.problems)
            _tell(logging.ERROR, f"the configuration stays as it was, asked by {asked.by}", report)
            return Verdict(report)
        found = changes(old, read)
        self.settings = new = in_place(old, read)
        result = "changed" if changes(old, new) else "unchanged"
        report = Report(result, asked.by, new.epoch, found, warnings=new.warnings)
        _tell(logging.INFO, f"configuration {result}, asked by {asked.by}", report)
        return Verdict(report, new if result == "changed" else None)


def _check_ways(old: Settings, new: Settings) -> None:
    """Raises ConfigError when a way to a provider can't be had: an authority's file that isn't one."""
    problems = []
    for name, provider in new.providers.items():
        if provider.dialect == SIMULATED or old.providers.get(name) == provider:
            continue
        try:
            open_upstream(provider)
        except (ValueError, OSError, ImportError) as error:
            problems.append(f"model_registry.yml: providers.{name}: {error}")
    if problems:
        raise ConfigError(problems)


def _tell(level: int, what: str, report: Report) -> None:
    extra = {"event": "reload", "reload": msgspec.to_builtins(report)}
    logger.log(level, "%s%s", what, _brief(report), extra=extra)


def _brief(report: Report) -> str:
    found = report.changes
    parts = [
        ("added", found.added),
        ("removed", found.removed),
        ("changed", [f"{model} ({', '.join(fields)})" for model, fields in found.changed.items()]),
        ("also changed", found.other),
        ("needs a restart", found.needs_restart),
        ("problems", report.problems),
    ]
    said = "; ".join(f"{name}: {', '.join(items)}" for name, items in parts if items)
    return f": {said}" if said else ""


def shown(verdict: Verdict) -> dict[str, Any]:
    """The answer to the admin API. Raises ApiError 422 with every problem."""
    report = verdict.report
    if report.result == "refused":
        said = "The configuration stays as it was:\n" + "\n".join(report.problems)
        raise ApiError(422, said, code="invalid_config")
    found = report.changes
    return {
        "object": "reload",
        "result": report.result,
        "epoch": report.epoch,
        "models": {"added": found.added, "removed": found.removed, "changed": found.changed},
        "other": found.other,
        "needs_restart": found.needs_restart,
        "warnings": report.warnings,
    }


class Watch:
    """Looks at the files in a thread of its own, and asks when they are others and stay so for one look."""

    def __init__(self, keeper: Keeper, ask: Callable[[Asked], object]) -> None:
        """`ask` is called from the thread."""
        self._keeper = keeper
        self._ask = ask
        self._before = keeper.seen
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kuro-watch", daemon=True)

    def start(self) -> None:
        """From now on."""
        self._thread.start()

    def stop(self) -> None:
        """No more looks."""
        self._over.set()

    def look(self) -> None:
        """One look."""
        now = self._keeper.footprint()
        if now == self._before and now != self._keeper.seen:
            self._keeper.seen = now  # asked for once, however long it takes
            self._ask(Asked("watch"))
        self._before = now

    def _run(self) -> None:
        while not self._over.wait(self._keeper.settings.reload.interval):
            if self._keeper.settings.reload.watch:
                self.look()


class Alone:
    """Reloads of the only process, one after the other. An async context manager while it serves."""

    def __init__(self, keeper: Keeper) -> None:
        self.adopt: Callable[[Verdict], Awaitable[None]]
        """What this process does about a verdict: set before it serves."""
        self._keeper = keeper
        self._turn = asyncio.Lock()
        self._tasks = Tasks()
        self._watch: Watch | None = None

    async def ask(self, asked: Asked) -> Verdict:
        """Decides in a thread, and does what was decided."""
        async with self._turn:
            verdict = await asyncio.to_thread(self._keeper.decide, asked)
            await self.adopt(verdict)
            return verdict

    def told(self, said: object) -> None:
        """There is no parent to say anything."""

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._ask, self._keeper.hung_up())
        self._watch = Watch(self._keeper, lambda asked: loop.call_soon_threadsafe(self._ask, asked))
        self._watch.start()

    async def __aexit__(self, *error: object) -> None:
        if self._watch is not None:
            self._watch.stop()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        await self._tasks.end()

    def _ask(self, asked: Asked) -> None:
        self._tasks.start(self.ask(asked))


class Among:
    """Reloads of one worker among several: the parent is asked, and everybody gets its order."""

    def __init__(self, line: Line) -> None:
        self.adopt: Callable[[Verdict], Awaitable[None]]
        self._line = line
        self._turn = asyncio.Lock()
        self._tasks = Tasks()

    async def ask(self, asked: Asked) -> Verdict:
        """The parent's verdict, when all workers have adopted it."""
        verdict: Verdict = await self._line.ask(asked)
        return verdict

    def told(self, said: object) -> None:
        """The parent has spoken."""
        if isinstance(said, Answer):
            self._line.answered(said)
        elif isinstance(said, Order):
            self._tasks.start(self._obey(said))

    async def __aenter__(self) -> None:
        """Orders come when it serves."""

    async def __aexit__(self, *error: object) -> None:
        await self._tasks.end()

    async def _obey(self, order: Order) -> None:
        failed = True
        try:
            async with self._turn:
                await self.adopt(order.what)
            failed = False
        except Exception:
            logger.exception("a configuration that was found good could not be taken")
        finally:
            self._line.done(order.number, failed)


class Tasks:
    """Work that nobody waits for, until the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """In a task of its own."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def end(self) -> None:
        """Cancels what is left."""
        left: Sequence[asyncio.Task[Any]] = tuple(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a reload failed", exc_info=error)
