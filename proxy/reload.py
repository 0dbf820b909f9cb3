"""On the way to the office and back: who asks while the proxy runs, and who does what was decided.

    SIGHUP, Watch, admin API --asked--> Office.decide --Verdict, Ruling--> every process adopts it

The office is in the only process (`Alone`), or in the parent of several workers (`Among`).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from proxy.office import Asked, Keeper, Office
from proxy.server.link import Answer, Done, Line, Order, Reach
from proxy.trials import Trials

logger = logging.getLogger("kuro")

Ask = Callable[[Any, Reach], Awaitable[Answer]]
"""Asks the office for something that concerns others, and waits until they have done it."""

Adopt = Callable[[Any], Awaitable[Any]]
"""What this process does about what was decided, and what it says to it."""


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


ALONE = "1"
"""The name of the only process, where workers have theirs."""


class Alone:
    """What the only process is asked for, one after the other. An async context manager while it serves."""

    def __init__(self, office: Office) -> None:
        self.adopt: Adopt
        """Set before it serves."""
        self._office = office
        self._turn = asyncio.Lock()
        self._tasks = Tasks()
        self._watch: Watch | None = None
        self._trials: Trials | None = None

    async def ask(self, asked: Any, reach: Reach = Reach.ALL) -> Answer:
        """Decides in a thread, and does what was decided."""
        async with self._turn:
            decided = await asyncio.to_thread(self._office.decide, asked)
            said = None if reach is Reach.PARENT else await self.adopt(decided)
            return Answer(0, decided, {} if said is None else {ALONE: said})

    def told(self, said: object) -> None:
        """There is no parent to say anything."""

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._ask, self._office.hung_up())
        keeper = self._office.keeper

        def ask(asked: Asked) -> None:
            loop.call_soon_threadsafe(self._ask, asked)

        self._watch, self._trials = Watch(keeper, ask), Trials(keeper, self._office.config, ask)
        self._watch.start()
        self._trials.start()

    async def __aexit__(self, *error: object) -> None:
        for thread in (self._watch, self._trials):
            if thread is not None:
                thread.stop()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        await self._tasks.end()

    def _ask(self, asked: Asked) -> None:
        self._tasks.start(self.ask(asked))


class Among:
    """What one worker among several is asked for: the parent decides, and everybody gets its order."""

    def __init__(self, line: Line) -> None:
        self.adopt: Adopt
        self._line = line
        self._turn = asyncio.Lock()
        self._tasks = Tasks()

    async def ask(self, asked: Any, reach: Reach = Reach.ALL) -> Answer:
        """What the parent decided, when all workers whom it reaches have done their part."""
        return await self._line.ask(asked, reach)

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
        done = Done(order.number, failed=True)
        try:
            async with self._turn:
                done = Done(order.number, said=await self.adopt(order.what))
        except Exception:
            logger.exception("what was decided for all could not be done here")
        finally:
            self._line.done(done)


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
            logger.error("what was asked for could not be done", exc_info=error)
